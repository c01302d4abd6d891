# zerosearch in an image. It has not been built, as no Docker daemon was at hand; its commands were tried outside Docker, except TORCH_INDEX.
#
#   CPU     docker build -t zerosearch --build-arg TORCH_INDEX=ADDRESS .    ADDRESS: PyTorch's index of CPU wheels
#   CUDA    the same with PyTorch's index of wheels for your CUDA version; run it with --gpus all
#   run     docker run --rm -v "$PWD:/work" zerosearch quickstart
#
# Without TORCH_INDEX torch comes from the index that pip uses. Its wheel for Linux on x86-64 brings CUDA: it runs on a CPU as well, but is gigabytes
# larger. The CUDA libraries come with the wheels, so one base image serves both.
ARG BASE=python:3.11-slim

FROM ${BASE} AS wheel
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM ${BASE}
ARG TORCH_INDEX=""
# what is installed beside the base: see [project.optional-dependencies] in pyproject.toml
ARG EXTRAS=dense,mcp,parquet,serve,tune,view
COPY constraints.txt /tmp/constraints.txt
COPY --from=wheel /wheels /tmp/wheels
# torch by itself first, and alone from its index; what it needs comes with the rest
RUN if [ -n "$TORCH_INDEX" ]; then \
        pip install --no-cache-dir --no-deps --index-url "$TORCH_INDEX" --constraint /tmp/constraints.txt torch; \
    fi \
    && pip install --no-cache-dir --constraint /tmp/constraints.txt "$(echo /tmp/wheels/*.whl)[$EXTRAS]" \
    && rm -r /tmp/wheels /tmp/constraints.txt \
    && useradd --create-home zerosearch \
    && mkdir /work && chown zerosearch /work
USER zerosearch
# runs are written here: mount a folder that this user (id 1000) may write to, or run with --user "$(id -u)"
WORKDIR /work
RUN zerosearch --version
ENTRYPOINT ["zerosearch"]
CMD ["--help"]
