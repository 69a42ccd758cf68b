# The command line in a container, on CPUs:
#   docker build -t vqaudio .
#   docker run --rm -i vqaudio encode - -o - < talk.wav > talk.vqa
#   docker run --rm -v "$PWD:/data" -u "$(id -u):$(id -g)" vqaudio encode talk.wav

FROM python:3.11-slim-bookworm AS build

# More words for pip: torch without CUDA is a tenth of the size.
ARG PIP_FLAGS="--extra-index-url=https://download.pytorch.org/whl/cpu"

# pyworld is compiled. Debian's g++ of the day will do.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY vqaudio ./vqaudio
RUN python -m venv /opt/vqaudio \
    && /opt/vqaudio/bin/python -m pip install --no-cache-dir --disable-pip-version-check "${PIP_FLAGS}" \
        -c constraints.txt .

FROM python:3.11-slim-bookworm

COPY --from=build /opt/vqaudio /opt/vqaudio
# Whoever runs it, what Numba compiles must have a place: see NUMBA_CACHE_DIR.
RUN useradd --create-home --uid 1000 vqaudio \
    && install -d -o vqaudio -m 1777 /var/cache/vqaudio \
    && install -d -o vqaudio /data
ENV PATH=/opt/vqaudio/bin:$PATH \
    NUMBA_CACHE_DIR=/var/cache/vqaudio \
    PYTHONDONTWRITEBYTECODE=1

USER 1000
WORKDIR /data
ENTRYPOINT ["vqaudio"]
CMD ["--help"]
