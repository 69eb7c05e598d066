"""NIfTI files in and out, through nibabel; no other module reads or writes them.

Reading refuses what cannot be used; writing gives equal bytes for equal volumes.
"""

import gzip
import os
import zlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError, SpatialImage
from numpy.typing import NDArray

from vcmaug.data.headers import Header, affine_in
from vcmaug.data.volume import Volume
from vcmaug.errors import DataError
from vcmaug.files import sha256_of_bytes, write_bytes
from vcmaug.shapes import as_shape3

__all__ = [
    "image_bytes",
    "image_in",
    "label_map_bytes",
    "label_map_in",
    "read_image",
    "read_label_map",
    "write_grey_values",
    "write_image",
    "write_label_map",
]

_UNREADABLE = (
    ImageFileError, HeaderDataError, EOFError, OSError, ValueError, zlib.error,
)  # fmt: skip
_SLOPE = 1.0 / 32767.0
_GZIP_LEVEL = 4
_SCANNER = 1  # code of sform and qform: scanner anatomical


def read_image(path: Path, *, case_id: str) -> Volume:
    """Return an image as float32.

    Args:
        path: A `.nii` or `.nii.gz` file, 3D (further axes of length 1 are dropped).
        case_id: For the message.

    Raises:
        DataError: The file is missing, truncated, no NIfTI, not 3D, has a header that does not
            place it (see `headers`), holds colours, complex numbers, NaN or infinity, or is the
            same everywhere.
    """
    volume = _read(path, case_id=case_id, dtype=np.float32)
    if not np.isfinite(volume.array).all():
        bad = int(np.count_nonzero(~np.isfinite(volume.array)))
        raise _fault(
            path,
            case_id,
            f"{bad} voxels are NaN or infinite as float32, expected numbers; fill them in",
        )
    if volume.array.min() == volume.array.max():
        raise _fault(
            path,
            case_id,
            f"every voxel is {volume.array.flat[0]:g}, expected an image; leave the case out",
        )
    return volume


def read_label_map(path: Path, *, case_id: str) -> Volume:
    """Return a label map as uint16.

    Args:
        path: As for `read_image`; stored as integers or as floats with integer values.
        case_id: For the message.

    Raises:
        DataError: As for `read_image`, or a value is no whole number from 0 to 65535.
    """
    volume = _read(path, case_id=case_id, dtype=None)
    with np.errstate(over="ignore"):
        array = volume.array.astype(np.float32)
    if not np.isfinite(array).all():
        raise _fault(
            path, case_id, "some voxels are NaN or infinite, expected label values; fill them in"
        )
    rounded = np.rint(array)
    if np.abs(array - rounded).max() > 1e-3 or rounded.min() < 0 or rounded.max() > 65535:
        raise _fault(
            path,
            case_id,
            f"values from {array.min():g} to {array.max():g}, expected whole numbers from 0 to "
            "65535: this is not a label map; export it with nearest-neighbour interpolation",
        )
    return Volume(rounded.astype(np.uint16), volume.affine)


def _read(path: Path, *, case_id: str, dtype: Any) -> Volume:
    """Return the array and the affine of a file, checked for shape and for an affine."""
    try:
        image = nib.load(path)
        kind = image.get_data_dtype()
        if kind.fields is not None or kind.kind == "c":
            what = "complex numbers" if kind.kind == "c" else "colours (RGB)"
            raise _fault(path, case_id, f"its voxels hold {what}, expected grey values; convert it")
        with np.errstate(over="ignore", invalid="ignore"):  # the callers look for infinity
            array = np.asanyarray(image.dataobj, dtype=dtype)
        _check_sum(path)
    except MemoryError:
        raise _fault(path, case_id, f"its shape {image.shape} does not fit into memory") from None
    except FileNotFoundError:
        found = "there is no such file, expected a volume; add it or correct its path"
        if path.is_symlink():
            found = f"a link to {os.readlink(path)}, and there is no such file, expected a volume; "
            found += "fetch it, e.g. with `git annex get`"
        raise _fault(path, case_id, found) from None
    except _UNREADABLE as error:
        found = f"truncated or no NIfTI file ({' '.join(str(error).split())})"
        found += ", expected .nii or .nii.gz; copy it again, or `git lfs pull` it"
        raise _fault(path, case_id, found) from None
    if array.ndim < 3 or any(size != 1 for size in array.shape[3:]):
        found = f"{array.ndim}D of shape {array.shape}, expected one 3D volume; split the file"
        raise _fault(path, case_id, found)
    array = array.reshape(array.shape[:3])
    try:
        return Volume(array, affine_in(_header(image), as_shape3(array.shape)))
    except DataError as error:
        raise _fault(path, case_id, str(error)) from None


def _check_sum(path: Path) -> None:
    """Read a compressed file to its end, where its checksum stands; nibabel stops before it.

    Raises:
        OSError: Its content is not what was written.
    """
    if path.suffix in (".gz", ".mgz"):
        with gzip.open(path) as stream:
            while stream.read(1 << 22):
                pass


def _header(image: SpatialImage) -> Header:
    """Return what the header of a file says of its place.

    Raises:
        DataError: Its qform is no rotation.
    """
    affine = np.asarray(image.affine, dtype=np.float64)
    if not isinstance(image, nib.Nifti1Pair):  # Analyze has a guess; others always have an affine
        return Header(affine, [] if isinstance(image, nib.AnalyzeImage) else [affine])
    try:
        forms = image.get_sform(coded=True), image.get_qform(coded=True)
    except ValueError as error:
        raise DataError(f"its qform is no rotation ({error})") from None
    known = [np.asarray(form, dtype=np.float64) for form, code in forms if code > 0]
    sides = np.abs(image.header["pixdim"][1:4].astype(np.float64)).tolist()
    return Header(affine, known, sides, unit=int(image.header["xyzt_units"]) & 7)


def _fault(path: Path, case_id: str, found: str) -> DataError:
    """Return the error for one file."""
    return DataError(f"case {case_id}, {path}: {found}.")


def write_image(path: Path, volume: Volume) -> str:
    """Write an image atomically and return the SHA-256 of the file.

    Args:
        path: Ends in `.nii.gz`.
        volume: Values in [0, 1]; beyond it they are clipped. Stored as int16 with a slope, which
            loses at most 1.6e-5.

    Raises:
        DataError: A value is NaN.
    """
    if np.isnan(volume.array).any():
        raise DataError(f"writing {path}: the image holds NaN; nothing was written.")
    return _write(path, image_bytes(volume))


def write_grey_values(path: Path, volume: Volume) -> str:
    """Write an image in any grey values atomically as float32; return the SHA-256 of the file."""
    stored = volume.array.astype(np.float32)
    return _write(path, _encoded(stored, affine=volume.affine, slope=1.0))


def write_label_map(path: Path, volume: Volume) -> str:
    """Write a label map atomically as uint8 (uint16 from 256 on); return the file's SHA-256."""
    return _write(path, label_map_bytes(volume))


def image_bytes(volume: Volume) -> bytes:
    """Return the file that `write_image` writes."""
    stored = np.rint(np.clip(volume.array, 0.0, 1.0) / _SLOPE).astype(np.int16)
    return _encoded(stored, affine=volume.affine, slope=_SLOPE)


def label_map_bytes(volume: Volume) -> bytes:
    """Return the file that `write_label_map` writes."""
    small = volume.array.max(initial=0) <= 255
    stored = volume.array.astype(np.uint8 if small else np.uint16)
    return _encoded(stored, affine=volume.affine, slope=1.0)


def label_map_in(content: bytes) -> Volume:
    """Return the label map in the bytes of its file."""
    image = nib.Nifti1Image.from_bytes(gzip.decompress(content))
    return Volume(
        np.asarray(image.dataobj).astype(np.uint16), np.asarray(image.affine, dtype=float)
    )


def image_in(content: bytes) -> NDArray[np.float32]:
    """Return the voxels of the image or mask in the bytes of its file."""
    image = nib.Nifti1Image.from_bytes(gzip.decompress(content))
    return np.asarray(image.dataobj, dtype=np.float32)


def _write(path: Path, content: bytes) -> str:
    """Write a file atomically and return its SHA-256."""
    write_bytes(path, content)
    return sha256_of_bytes(content)


def _encoded(stored: NDArray[Any], *, affine: NDArray[np.float64], slope: float) -> bytes:
    """Return one array as gzipped NIfTI-1 whose bytes depend on the arguments alone."""
    image = nib.Nifti1Image(stored, affine)
    image.set_qform(affine, code=_SCANNER)
    image.set_sform(affine, code=_SCANNER)
    header = image.header
    header.set_xyzt_units("mm")
    raw = bytearray(image.to_bytes())
    if slope != 1.0:  # nibabel clears the slope of in-memory images: put it into the header
        raw[112:116] = np.array([slope], dtype=header.endianness + "f4").tobytes()
        raw[116:120] = np.zeros(1, dtype=header.endianness + "f4").tobytes()
    return gzip.compress(bytes(raw), compresslevel=_GZIP_LEVEL, mtime=0)
