# An image for slices of TPUs: the package with jax for TPUs, and what programs of chart data sets import.
#
#   docker build -f launch/docker/tpu.Dockerfile -t IMAGE .
#
# It runs in the repository, so that CONFIG is a path such as configs/sft.py:v5p-128. Programs are confined by what the cluster leaves to a
# container; `python -m recoder_jax.preflight` in it says which layers hold.
FROM python:3.11-slim-bookworm
WORKDIR /recoder_jax
COPY setup.py README.md LICENSE ./
COPY recoder_jax recoder_jax
COPY configs configs
COPY launch launch
RUN pip install --no-cache-dir --constraint launch/locks/tpu.txt --editable '.[tpu,charts,gcs]'
ENV PYTHONUNBUFFERED=1
