# docker build -t histoproto . && docker run --rm -v "$PWD:/work" histoproto segment RUN SLIDES --out OUT
# With a graphics card: --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu128, and `docker run --gpus all`.
# On a cluster without Docker: apptainer build histoproto.sif docker-daemon://histoproto:latest
#                              apptainer run --nv histoproto.sif segment RUN SLIDES --out OUT
FROM python:3.12-slim AS wheel
WORKDIR /source
COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY src src
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.12-slim
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
# The libraries bring their own shared objects (openslide-bin, imagecodecs); OpenMP is the one they expect.
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/*
COPY --from=wheel /wheels /wheels
RUN pip install --no-cache-dir torch torchvision --index-url "$TORCH_INDEX" \
    && pip install --no-cache-dir "$(ls /wheels/*.whl)[zarr,onnx]" && rm -r /wheels
# Nobody's files should belong to root.
RUN useradd --create-home user
USER user
ENV MPLCONFIGDIR=/tmp/matplotlib PYTHONDONTWRITEBYTECODE=1
WORKDIR /work
ENTRYPOINT ["histoproto"]
CMD ["--help"]
