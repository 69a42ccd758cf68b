# The command line in a container, for speech: sounds in, .vqa files out, and back. Without PyTorch, which only training,
# pictures and models that draw the wave need.
#   docker build -t vqaudio .
#   docker run --rm -i vqaudio encode - -o - < talk.wav > talk.vqa
#   docker run --rm -v "$PWD:/data" -u "$(id -u):$(id -g)" vqaudio encode talk.wav

FROM python:3.11-slim-bookworm AS build

# Another package index, where there is one nearer.
ARG PIP_INDEX_URL=https://pypi.org/simple

WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY vqaudio ./vqaudio
# The environment goes without pip; everything comes as wheels, so that no compiler is needed.
RUN python -m venv --without-pip /opt/vqaudio \
    && python -m pip --python /opt/vqaudio/bin/python install --no-cache-dir --disable-pip-version-check \
        -c constraints.txt .

FROM python:3.11-slim-bookworm

COPY --from=build /opt/vqaudio /opt/vqaudio
# Whoever runs it, what Numba compiles must have a place: see NUMBA_CACHE_DIR.
RUN useradd --create-home --uid 1000 vqaudio \
    && install -d -o vqaudio /var/cache/vqaudio \
    && install -d -o vqaudio /data
ENV PATH=/opt/vqaudio/bin:$PATH \
    NUMBA_CACHE_DIR=/var/cache/vqaudio \
    PYTHONDONTWRITEBYTECODE=1

USER 1000
# Compiles what this processor needs, and shows that sound goes in and comes out. Others than this user may add to it.
RUN vqaudio demo -o /tmp/demo \
    && rm -r /tmp/demo \
    && chmod -R a+rwX /var/cache/vqaudio

WORKDIR /data
ENTRYPOINT ["vqaudio"]
CMD ["--help"]
