"""Build the images with debootstrap, apt and an overlay mount; called by script/images in its own mount namespace.

One minbase layer is made once and shared by all images; the layer of an image is the upper folder of an overlay
in which apt installed its packages. What is up to date (its recipe and these files are as they were) is left alone.
"""

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import image_recipes
from image_recipes import BASE_FILES, BUSYBOX_CONFIG, BUSYBOX_FILES, IMAGES, File, Recipe
from oci_archive import Blob, Layer, write_archive, write_image, write_layer, write_tar

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache" / "images"
BUILD = CACHE / "build"
BLOBS = BUILD / "blobs"
LISTS = BUILD / "lists.stamp"  # when the package lists were last fetched
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
# Made anew at each start of a container, or of no use there.
BASE_SKIP = frozenset({"dev", "proc", "sys", "run", "tmp", "var/cache/apt", "var/lib/apt/lists", "var/log"})
PRUNED = ("usr/share/doc", "usr/share/man", "usr/share/info", "usr/share/locale", "usr/share/lintian", "var/cache")
VOLATILE = ("var/cache/debconf", "var/cache/ldconfig", "var/log/apt", "var/log/dpkg.log", "var/log/alternatives.log")


class BuildError(Exception):
    pass


def run(*command: str | Path) -> None:
    words = [str(word) for word in command]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    answer = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    if answer.returncode:
        raise BuildError(
            f"{' '.join(words)} ended with {answer.returncode}:\n{answer.stdout[-3000:]}{answer.stderr[-3000:]}"
        )


def distribution() -> tuple[str, str, list[str]]:
    """The suite, the mirror, and the lines of a sources.list, of the distribution this machine runs."""
    release = platform.freedesktop_os_release()
    suite = release.get("VERSION_CODENAME", "")
    if release["ID"] == "ubuntu":
        mirror = os.environ.get("LADING_MIRROR", "http://archive.ubuntu.com/ubuntu")
        pockets = [(mirror, suite), (mirror, f"{suite}-updates"), (mirror, f"{suite}-security")]
        components = "main universe"
    elif release["ID"] == "debian":
        mirror = os.environ.get("LADING_MIRROR", "http://deb.debian.org/debian")
        pockets = [(mirror, suite), (mirror, f"{suite}-updates"), (f"{mirror}-security", f"{suite}-security")]
        components = "main"
    else:
        raise BuildError(f"the images are built of Debian or Ubuntu packages; this machine runs {release['ID']}")
    return suite, mirror, [f"deb {where} {name} {components}" for where, name in pockets]


def recipe_digest(*parts: Any) -> str:
    here = Path(__file__).resolve().parent
    code = [(here / name).read_text() for name in ("image_archives.py", "oci_archive.py")]
    return hashlib.sha256(json.dumps([*parts, *code], sort_keys=True).encode()).hexdigest()


def put(tree: Path, files: dict[str, File]) -> None:
    for name, file in files.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.text)
        path.chmod(file.mode)


def remove(tree: Path, names: tuple[str, ...]) -> None:
    for name in names:
        path = tree / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


# --- the base layer -----------------------------------------------------------------------------------------


def base_layer(recipe: str) -> tuple[Path, Layer]:
    tree, record = BUILD / f"base-{recipe[:12]}", BUILD / f"base-{recipe[:12]}.json"
    if not record.exists():
        for stale in (*BUILD.glob("base-*"), BLOBS):
            remove(BUILD, (stale.name,))
        layer = _make_base(tree)
        record.write_text(json.dumps(asdict(layer)))
    known = json.loads(record.read_text())
    return tree, Layer(Blob(**known["blob"]), known["diff_id"])


def _make_base(tree: Path) -> Layer:
    suite, mirror, sources = distribution()
    debs = BUILD / "debs"
    debs.mkdir(parents=True, exist_ok=True)
    run("debootstrap", "--variant=minbase", f"--cache-dir={debs}", suite, tree, mirror)
    put(tree, {**BASE_FILES, "etc/apt/sources.list": File("\n".join(sources) + "\n")})
    remove(tree, (*PRUNED, "etc/hostname", "etc/resolv.conf", "var/log/bootstrap.log", *VOLATILE))
    for name in ("var/cache/apt/archives/partial", "var/lib/apt/lists/partial"):
        (tree / name).mkdir(parents=True, exist_ok=True)
    return write_layer(tree, BLOBS, skip=BASE_SKIP)


# --- the layers above ---------------------------------------------------------------------------------------


@contextmanager
def mounted(base: Path, work: Path) -> Iterator[Path]:
    """An overlay over the base in which apt can work, with lists and packages kept outside of it."""
    shutil.rmtree(work, ignore_errors=True)
    upper, root = work / "upper", work / "root"
    for folder in (upper, work / "work", root, BUILD / "lists" / "partial", BUILD / "debs" / "partial"):
        folder.mkdir(parents=True, exist_ok=True)
    run("mount", "-t", "overlay", "overlay", root, "-o", f"lowerdir={base},upperdir={upper},workdir={work / 'work'}")
    try:
        run("mount", "-t", "proc", "proc", root / "proc")
        run("mount", "--bind", BUILD / "lists", root / "var/lib/apt/lists")
        run("mount", "--bind", BUILD / "debs", root / "var/cache/apt/archives")
        run("mount", "-t", "tmpfs", "tmpfs", root / "tmp")
        (root / "etc/resolv.conf").touch()
        run("mount", "--bind", Path("/etc/resolv.conf").resolve(), root / "etc/resolv.conf")
        yield root
    finally:
        run("umount", "-R", root)


def image_layer(name: str, recipe: Recipe, base: Path) -> tuple[Layer, str]:
    """The layer of one image, and the version of PostgreSQL found in it, if any."""
    work = BUILD / f"layer-{name}"
    with mounted(base, work) as root:
        put(root, recipe.before)
        if not LISTS.exists() or LISTS.stat().st_mtime < time.time() - 86400:
            run("chroot", root, "apt-get", "update")
            LISTS.touch()
        run("chroot", root, "apt-get", "install", "-y", "--no-install-recommends", *recipe.packages)
        put(root, recipe.after)
        for path, target in recipe.links.items():
            (root / path).unlink(missing_ok=True)
            (root / path).symlink_to(target)
        for path, owner in recipe.folders.items():
            (root / path).mkdir(parents=True, exist_ok=True)
            run("chroot", root, "chown", owner, f"/{path}")
        versions = sorted(path.name for path in (root / "usr/lib/postgresql").glob("*"))
    upper = work / "upper"
    remove(upper, ("etc/resolv.conf", *VOLATILE))
    layer = write_layer(upper, BLOBS)
    shutil.rmtree(work)
    return layer, versions[-1] if versions else ""


def build(name: str, recipe: Recipe, base: Path, base_blob: Layer) -> None:
    layer, version = image_layer(name, recipe, base)
    config = json.loads(json.dumps(recipe.config).replace("{pg}", version))
    architecture = ARCHITECTURES[platform.machine()]
    write_archive(CACHE / f"{name}.tar", write_image(name, [base_blob, layer], config, architecture, BLOBS), BLOBS)


def build_busybox() -> None:
    tree = BUILD / "busybox"
    shutil.rmtree(tree, ignore_errors=True)
    put(tree, BUSYBOX_FILES)
    for name in ("bin", "root", "tmp", "proc", "sys", "dev"):
        (tree / name).mkdir()
    (tree / "tmp").chmod(0o1777)
    source = Path("/bin/busybox")
    if b"/ld-linux" in source.read_bytes():
        raise BuildError("/bin/busybox needs libraries: apt-get install busybox-static")
    shutil.copy(source, tree / "bin" / "busybox")
    applets = subprocess.run([source, "--list"], capture_output=True, text=True, check=True).stdout.split()
    for applet in applets:
        if applet != "busybox":
            (tree / "bin" / applet).symlink_to("busybox")
    with (CACHE / "busybox-rootfs.part").open("wb") as file:
        write_tar(tree, file)
    (CACHE / "busybox-rootfs.part").rename(CACHE / "busybox-rootfs.tar")
    layer = write_layer(tree, BLOBS)
    manifest = write_image("busybox", [layer], BUSYBOX_CONFIG, ARCHITECTURES[platform.machine()], BLOBS)
    write_archive(CACHE / "busybox.tar", manifest, BLOBS)
    shutil.rmtree(tree)


def _step(name: str, recipe: str, targets: list[Path], make: Any) -> None:
    record = CACHE / f"{name}.recipe"
    if record.exists() and record.read_text() == recipe and all(target.exists() for target in targets):
        return
    began = time.monotonic()
    make()
    record.write_text(recipe)
    print(f"{name}: {sum(t.stat().st_size for t in targets) >> 20} MiB in {time.monotonic() - began:.0f} s", flush=True)


def main() -> int:
    os.umask(0o022)
    BLOBS.mkdir(parents=True, exist_ok=True)
    try:
        busybox = recipe_digest({k: asdict(f) for k, f in BUSYBOX_FILES.items()}, BUSYBOX_CONFIG)
        _step("busybox", busybox, [CACHE / "busybox.tar", CACHE / "busybox-rootfs.tar"], build_busybox)
        base_recipe = recipe_digest(distribution(), {k: asdict(f) for k, f in BASE_FILES.items()}, image_recipes.SLIM)
        for name, recipe in IMAGES.items():

            def make(name: str = name, recipe: Recipe = recipe) -> None:
                build(name, recipe, *base_layer(base_recipe))

            _step(name, recipe_digest(base_recipe, asdict(recipe)), [CACHE / f"{name}.tar"], make)
    except BuildError as error:
        print(f"script/images: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
