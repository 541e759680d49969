# An image for NVIDIA GPUs: the package with jax for CUDA, which brings its libraries and needs the driver of the host, and what programs of chart data sets import.
#
#   docker build -f launch/docker/gpu.Dockerfile -t IMAGE .
#
# It runs in the repository, so that CONFIG is a path such as configs/sft.py:gpu-8. Programs are confined by what the cluster leaves to a
# container; `python -m recoder_jax.preflight` in it says which layers hold.
FROM python:3.11-slim-bookworm
WORKDIR /recoder_jax
COPY setup.py README.md LICENSE ./
COPY recoder_jax recoder_jax
COPY configs configs
COPY launch launch
RUN pip install --no-cache-dir --constraint launch/locks/cuda.txt --editable '.[cuda,charts,s3]'
ENV PYTHONUNBUFFERED=1
