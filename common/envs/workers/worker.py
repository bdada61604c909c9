"""The program of an environment process: serves one Env over a connection.

It is started by path (`parallel.ProcessEnv`) and takes the file descriptor of the
connection as its argument. A process of its own kind, instead of multiprocessing's,
does not import the main script again, and with it TensorFlow.
"""

import pickle
import signal
import sys
import traceback
from multiprocessing import connection


def main() -> None:
    """Receives the import path and the constructor, then serves calls until EOF.

    Received: (method name, arguments). Sent: (True, result), or (False, (exception,
    its traceback as text, as `faults` tells it)). The first answer is obs_specs,
    act_spec, readings or None, and whether there is `render`.
    """
    # Ctrl-C and a SIGTERM to the whole group are the parent's to handle, which saves
    # first; a process without a parent ends by itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with connection.Connection(int(sys.argv[1])) as pipe:
        sys.path[:] = pipe.recv()
        env = None
        try:
            while True:
                method, arguments = pipe.recv()
                try:
                    if method == "construct":
                        env = _construct(*arguments)
                        result = env.obs_specs, env.act_spec
                        result += getattr(env, "readings", None), hasattr(env, "render")
                    else:
                        result = getattr(env, method)(*arguments)
                    answer = True, result
                except Exception as error:
                    answer = False, (_portable(error), _describe(error))
                pipe.send(answer)
        except (EOFError, OSError):  # The parent has closed its end, or is gone.
            if env is not None:
                env.close()


def _construct(pickled: bytes):
    import cloudpickle

    return cloudpickle.loads(pickled)()


def _describe(error: Exception) -> str:
    try:
        from common.config import faults
    except ImportError:
        return traceback.format_exc()
    return faults.describe(error)


def _portable(error: Exception) -> Exception | None:
    """The exception if it survives pickling; some cannot be rebuilt from their args."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return None
    return error


if __name__ == "__main__":
    main()
