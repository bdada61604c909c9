# docker build -t dreamerv2 .                  for a GPU
# docker build -t dreamerv2 --build-arg GPU=0 .   for the processor alone, 4 GB smaller
FROM python:3.11-slim-bookworm

# What DM Control renders with, EGL on a GPU and OSMesa without one, and git, which the
# installation of MiniHack calls.
RUN apt-get update \
    && apt-get install -y --no-install-recommends git libegl1 libgl1 libosmesa6 \
    && rm -rf /var/lib/apt/lists/*

ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /app

# The dependencies, before the code: a change of code does not install them again.
ARG GPU=1
COPY setup.py constraints.txt configs.yaml README.md ./
RUN mkdir -p dreamerv2 common gym_minigrid \
    && extras=plot,gym,test,minihack,atari,dmc,crafter,video,sweep \
    && if [ "$GPU" = 1 ]; then extras=$extras,gpu; fi \
    && python3 -m pip install -e ".[$extras]" -c constraints.txt

COPY . .
RUN python3 -m pip install --no-deps -e . \
    && python3 -m pytest -q -n 2 -m "not tf and not slow"

VOLUME /logdir
CMD ["python3", "train_minigrid.py", "--configs", "quickstart", "--logdir", "/logdir", "--tag", "quickstart"]
