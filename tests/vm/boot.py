"""Boot Debian's own kernel in qemu on the files of this machine, run a command there, and return what became of it.

The machine's root is this host's, read-only below a layer in memory: all that is installed here is there, the checkout
too, and nothing it does comes back, but for what it writes to a disk image that is handed to it.
The kernel is unpacked from its package into .cache/vm; nothing is installed here.

    python tests/vm/boot.py [--disk FILE] COMMAND ...
"""

import argparse
import gzip
import lzma
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent.parent
CACHE = CHECKOUT / ".cache" / "vm"
# This checkout's command: that of the host may be another's.
LADING = f"""#!{CHECKOUT}/.venv/bin/python -IS
import sys

sys.path.insert(0, {str(CHECKOUT)!r})
from controller.cli.main import main

sys.exit(main(sys.argv[1:]))
"""
MODULES = ("virtio_pci", "9pnet_virtio", "9p", "overlay", "virtio_blk", "ext4")


class VmError(Exception):
    """The machine could not be built or did not get as far as running the command."""


@dataclass(frozen=True, slots=True)
class Kernel:
    version: str
    folder: Path

    @property
    def image(self) -> Path:
        return self.folder / "boot" / f"vmlinuz-{self.version}"


@dataclass(frozen=True, slots=True)
class Result:
    """`code` is None if the power was cut before the command ended."""

    code: int | None
    output: str
    console: str


def _run(*command: str | Path, cwd: Path | None = None) -> str:
    words = [str(word) for word in command]
    answer = subprocess.run(words, capture_output=True, text=True, check=False, cwd=cwd)
    if answer.returncode:
        raise VmError(f"{' '.join(words)} ended with {answer.returncode}: {answer.stderr.strip()}")
    return answer.stdout


def kernel() -> Kernel:
    """The distribution's kernel, unpacked. Raises: VmError where there is no package of it."""
    depends = _run("apt-cache", "depends", "linux-image-amd64")
    names = [line.split()[-1] for line in depends.splitlines() if "Depends: linux-image-" in line]
    if not names:
        raise VmError("no package linux-image-amd64 here: these tests need Debian on x86-64")
    version = names[0].removeprefix("linux-image-")
    folder = CACHE / version
    if not folder.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
            work = Path(scratch)
            work.chmod(0o755)
            _run("apt-get", "download", names[0], cwd=work)
            (package,) = work.glob("*.deb")
            _run("dpkg-deb", "-x", package, work / "unpacked")
            _run("depmod", "-b", work / "unpacked", version)
            (work / "unpacked").rename(folder)
    return Kernel(version, folder)


def _initramfs(kernel: Kernel, target: Path) -> None:
    files: dict[str, tuple[bytes, int]] = {
        "init": ((CHECKOUT / "tests/vm/init.sh").read_bytes(), 0o755),
        "bin/busybox": (Path("/bin/busybox").read_bytes(), 0o755),
        "stage": (str(CHECKOUT / "tests/vm/stage.sh").encode(), 0o644),
        "kernel": (str(kernel.folder).encode(), 0o644),
    }
    order = []
    for path in _module_files(kernel):
        name = path.name.removesuffix(".xz")
        data = path.read_bytes()
        files[f"modules/{name}"] = (lzma.decompress(data) if path.suffix == ".xz" else data, 0o644)
        order.append(name)
    files["modules/order"] = ("\n".join(order).encode() + b"\n", 0o644)
    target.write_bytes(gzip.compress(_cpio(files), 1))


def _module_files(kernel: Kernel) -> list[Path]:
    """The files of the modules and of what they need, each after what it needs."""
    found: dict[Path, None] = {}
    for module in MODULES:
        lines = _run("modprobe", "-d", kernel.folder, "-S", kernel.version, "--show-depends", module)
        for line in lines.splitlines():
            if line.startswith("insmod "):
                found[Path(line.split()[1])] = None
    return list(found)


def _cpio(files: dict[str, tuple[bytes, int]]) -> bytes:
    """The `newc` format, which is all a kernel reads."""
    folders = sorted({str(parent) for name in files for parent in Path(name).parents} - {"."})
    entries = [(name, b"", 0o040755) for name in folders]
    entries += [(name, data, 0o100000 | mode) for name, (data, mode) in files.items()]
    packed = bytearray()
    for number, (name, data, mode) in enumerate([*entries, ("TRAILER!!!", b"", 0)], start=1):
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
        packed += b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
        packed += b"\0" * (-len(packed) % 4)
        packed += data
        packed += b"\0" * (-len(packed) % 4)
    return bytes(packed)


def run(
    command: str, *, disk: Path | None = None, cut_power_at: str = "", timeout: float = 600, memory: int = 2048
) -> Result:
    """Boot, run a shell command, power off. The disk, a raw file, is /run/disk there and outlives the machine.

    With `cut_power_at` the machine is killed as soon as that text is in the output: what was not synced is lost.
    """
    if not shutil.which("qemu-system-x86_64"):
        raise VmError("no qemu-system-x86_64: script/setup --all installs it")
    the_kernel = kernel()
    with tempfile.TemporaryDirectory(prefix="run-", dir=CACHE) as scratch:
        work = Path(scratch)
        (work / "shared").mkdir()
        (work / "shared" / "command").write_text(f"cd {shlex.quote(str(CHECKOUT))}\n{command}\n")
        (work / "shared" / "lading").write_text(LADING)
        _initramfs(the_kernel, work / "initrd")
        words = _qemu(the_kernel, work, disk, memory)
        with (
            (work / "console").open("wb") as console,
            subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT) as process,
        ):
            try:
                cut = _wait(process, work / "shared" / "output", cut_power_at, timeout)
            finally:
                process.kill()
        return _result(work, cut=cut)


def _qemu(kernel: Kernel, work: Path, disk: Path | None, memory: int) -> list[str]:
    words = [
        "qemu-system-x86_64",
        "-accel",
        "tcg",
        "-cpu",
        "max",
        "-m",
        str(memory),
        "-smp",
        str(min(os.cpu_count() or 1, 4)),
    ]
    words += ["-nographic", "-no-reboot", "-nodefaults", "-serial", "stdio"]
    words += ["-kernel", str(kernel.image), "-initrd", str(work / "initrd"), "-append", "console=ttyS0 quiet panic=-1"]
    words += ["-virtfs", "local,path=/,mount_tag=hostroot,security_model=none,readonly=on,multidevs=remap"]
    words += ["-virtfs", f"local,path={work / 'shared'},mount_tag=work,security_model=none"]
    if disk:
        words += ["-drive", f"file={disk},format=raw,if=virtio,cache=writeback"]
    return words


def _wait(process: subprocess.Popen[bytes], output: Path, cut_power_at: str, timeout: float) -> bool:
    """Until the machine is off. True if we cut its power."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if cut_power_at and output.exists() and cut_power_at in output.read_text(errors="replace"):
            process.kill()
            return True
        try:
            process.wait(0.1)
        except subprocess.TimeoutExpired:
            continue
        return False
    return False


def _result(work: Path, *, cut: bool) -> Result:
    console = (work / "console").read_text(errors="replace")
    output, status = work / "shared" / "output", work / "shared" / "status"
    text = output.read_text(errors="replace") if output.exists() else ""
    if cut:
        return Result(None, text, console)
    if not status.exists():
        raise VmError(f"the command did not end in time, or the machine did not come up.\n{text}\n{console[-3000:]}")
    return Result(int(status.read_text()), text, console)


def main() -> int:
    parser = argparse.ArgumentParser(description="Run a command on Debian's own kernel.")
    parser.add_argument("--disk", type=Path, help="a raw file that is /run/disk there and is kept")
    parser.add_argument("--timeout", type=float, default=600)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    try:
        result = run(shlex.join(options.command), disk=options.disk, timeout=options.timeout)
    except VmError as error:
        print(error, file=sys.stderr)
        return 125
    print(result.output, end="")
    return result.code or 0


if __name__ == "__main__":
    sys.exit(main())
