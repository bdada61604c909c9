"""Shows a trained agent as a video, beside what its model predicts."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np

from common.records import video
from dreamerv2.run.evaluation import pictures
from dreamerv2.trained import evaluation
from dreamerv2.trained import player as player_lib
from dreamerv2.trained import tasks as tasks_lib
from dreamerv2.watch import film

_MOST = 512  # pixels a side of a picture that is not what the agent sees


def record(
    player: player_lib.Player,
    tasks: tasks_lib.Tasks,
    episodes: int,
    out: str | os.PathLike,
    *,
    fps: float = 10,
    scale: int = 4,
    context: int = film.CONTEXT,
    horizon: int = 50,
) -> list[evaluation.Result]:
    """Plays episodes of each task and shows them in one video.

    Args:
      player: Plays.
      tasks: What is played.
      episodes: How many of each task.
      out: The video, `.mp4` or `.gif`.
      fps: Frames a second.
      scale: Pixels of the video for one of an image.
      context: Images that the model sees before it predicts.
      horizon: Steps after which it sees as many again.

    Raises:
      ValueError: If a number or the name is not valid, or there is no image to show.
      VideoError: If the video cannot be written.
    """
    evaluation.check_positive(episodes=episodes, scale=scale)
    results, predictor = [], None
    with video.Writer(out, fps) as writer:
        for number, task in tasks.items():
            results.append(evaluation.Result(number, task.name, []))
            for episode in player.play(task, number, episodes, keep=True):
                if predictor is None:
                    predictor = film.Predictor(
                        player.agent, context, horizon, player.config.seed
                    )
                title = f"{task.name}\nepisode {len(results[-1].episodes) + 1}"
                for frame in _draw(player, predictor, episode, title, scale):
                    writer.add(frame)
                for _ in range(round(fps / 2)):  # time to see how it ended
                    writer.add(frame)
                results[-1].episodes.append(episode._replace(transitions={}))
    return results


def _draw(
    player: player_lib.Player,
    predictor: film.Predictor,
    episode: player_lib.Episode,
    title: str,
    scale: int,
) -> Iterator[np.ndarray]:
    """The frames of an episode, with the model's images if it decodes any."""
    key, decoded = _image_key(player, episode)
    truth = episode.transitions[key]
    if key == pictures.KEY:  # larger than what agents see
        scale = max(1, min(scale, _MOST // max(truth.shape[1:3])))
    model = predictor(episode.transitions)[key] if decoded else None
    ahead = [predictor.ahead(time) for time in range(len(truth))]
    scores = np.cumsum(episode.transitions["reward"])
    captions = []
    for time, steps in enumerate(ahead):
        caption = f"{title}   step {time}   return {scores[time]:.2f}"
        words = f"predicts {steps} steps ahead" if steps else "sees this image"
        captions.append(f"{caption}\nthe model {words}" if decoded else caption)
    return film.frames(truth, model, ahead, captions, scale)


def _image_key(
    player: player_lib.Player, episode: player_lib.Episode
) -> tuple[str, bool]:
    """The image to show, and whether the model decodes it."""
    specs = player.agent.obs_specs
    images = [key for key, spec in specs.items() if spec.dtype == np.uint8]
    decoded = player.agent.model.heads["decoder"].cnn_keys
    ours = [key for key in player.config.log_keys_video if key in images]
    order = [*(k for k in ours if k in decoded), *decoded, *ours, *images]
    order += [pictures.KEY] if pictures.KEY in episode.transitions else []
    if not order:
        raise ValueError(
            f"The observations are {', '.join(specs)}, without an image to show. Make "
            "the environment with render_mode='rgb_array', or give it an observation "
            f"{pictures.KEY}; or evaluate without a video: --eval 20, in Python "
            "dv2.evaluate(logdir, env)."
        )
    return order[0], order[0] in decoded
