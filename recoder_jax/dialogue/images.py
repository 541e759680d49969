"""Images as the policy sees them: Qwen2.5-VL's resizing, normalisation and patch order in numpy and Pillow.

Axes: H, W pixel rows and columns; C = 3 channels; P patches; patch vector 1176 = channel 3 x time 2 x row 14 x column 14.
Source of the numbers: the published Qwen2.5-VL preprocessor configuration (patch 14, merge 2, time 2, CLIP mean and deviation).
"""

import hashlib
import io
import math
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

PATCH, MERGE, TIME = 14, 2, 2
FACTOR = PATCH * MERGE
MAX_ASPECT = 200
MAX_FILE_PIXELS = 50_000_000
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True, eq=False)
class Patches:
    """One image for the vision tower.

    values: float32 [P, 1176], patches ordered by 2x2 merge blocks, the blocks row-major. grid: (rows, columns) in patches, both
    even. key: hash of the resized pixels and their size; equal keys mean equal values.
    """

    values: np.ndarray
    grid: tuple[int, int]
    key: str

    @property
    def merged(self) -> int:
        """Tokens the image takes in the dialogue: one per 2x2 patches."""
        return self.grid[0] * self.grid[1] // MERGE**2


@dataclass(frozen=True)
class ImageProcessor:
    """Turns an image uint8 [H, W, 3] into `Patches`, resized to between min_pixels and max_pixels, sides multiples of 28.

    Raises ValueError for a wrong shape or type, an aspect ratio above 200, and at construction for contradicting limits.
    """

    min_pixels: int = 3_136
    max_pixels: int = 1_003_520

    def __post_init__(self):
        if self.min_pixels < 1 or self.max_pixels < FACTOR**2 or self.min_pixels > self.max_pixels:
            raise ValueError(
                f'min_pixels {self.min_pixels} and max_pixels {self.max_pixels} do not fit together; '
                f'choose 1 <= min_pixels <= max_pixels and max_pixels >= {FACTOR**2}'
            )

    def size(self, height: int, width: int) -> tuple[int, int]:
        """(rows, columns) in pixels that an image of this size is resized to."""
        return smart_resize(height, width, self.min_pixels, self.max_pixels)

    def __call__(self, image: np.ndarray) -> Patches:
        check_image(image)
        height, width = self.size(*image.shape[:2])
        if image.shape[:2] != (height, width):
            image = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))
        key = hashlib.blake2b(f'{height}x{width}:'.encode() + np.ascontiguousarray(image).tobytes(), digest_size=16).hexdigest()
        return Patches(patchify(image), (height // PATCH, width // PATCH), key)


def check_image(image: np.ndarray) -> None:
    """Raises ValueError unless `image` is a non-empty array uint8 [H, W, 3]."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        found = f'{image.dtype} {list(image.shape)}' if isinstance(image, np.ndarray) else type(image).__name__
        raise ValueError(f'an image must be an array uint8 [H, W, 3], not {found}; load files with load_image')


def smart_resize(height: int, width: int, min_pixels: int, max_pixels: int) -> tuple[int, int]:
    """The size nearest to (height, width) whose sides are multiples of 28 and whose area lies within the limits.

    Rounds half to even. Raises ValueError when one side is more than 200 times the other.
    """
    if max(height, width) > MAX_ASPECT * min(height, width):
        raise ValueError(f'the image is {width} x {height} pixels; the longer side may be at most {MAX_ASPECT} times the shorter, crop it')
    rows, columns = round(height / FACTOR) * FACTOR, round(width / FACTOR) * FACTOR
    if rows * columns > max_pixels:
        shrink = math.sqrt(height * width / max_pixels)
        rows = max(FACTOR, math.floor(height / shrink / FACTOR) * FACTOR)
        columns = max(FACTOR, math.floor(width / shrink / FACTOR) * FACTOR)
    elif rows * columns < min_pixels:
        grow = math.sqrt(min_pixels / (height * width))
        rows = math.ceil(height * grow / FACTOR) * FACTOR
        columns = math.ceil(width * grow / FACTOR) * FACTOR
    return rows, columns


def patchify(image: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3], sides multiples of 28 -> float32 [P, 1176], normalised."""
    height, width, _ = image.shape
    # 256 values per channel: a table gives the same bits as arithmetic on every pixel
    table = _normalised()  # [3, 256]
    x = table[np.arange(3), image]  # [H, W, C]
    x = x.reshape(height // FACTOR, MERGE, PATCH, width // FACTOR, MERGE, PATCH, 3)
    x = x.transpose(0, 3, 1, 4, 6, 2, 5)  # [block row, block column, 2, 2, C, 14, 14]
    x = np.repeat(x[:, :, :, :, :, None], TIME, axis=5)  # a still image fills both time steps
    return x.reshape(height * width // PATCH**2, 3 * TIME * PATCH**2)


def _normalised() -> np.ndarray:
    """float32 [3, 256]: (value / 255 - mean) / std, scaled in float64 and rounded to float32 before normalising, as Qwen's is."""
    scaled = (np.arange(256, dtype=np.float64) * (1 / 255)).astype(np.float32)
    mean, std = np.array(CLIP_MEAN, np.float32), np.array(CLIP_STD, np.float32)
    return (scaled[None] - mean[:, None]) / std[:, None]


def load_image(path: str | Path, max_pixels: int = MAX_FILE_PIXELS) -> np.ndarray:
    """Reads an image file (PNG, JPEG and what else Pillow reads; the first frame) as uint8 [H, W, 3], transparency on white.

    Raises FileNotFoundError for a missing file; ValueError for one that is not an image, is damaged, or has over max_pixels.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'there is no image file {str(path)!r}; give the path of a PNG or JPEG file')
    return decode_image(path.read_bytes(), f'the image file {str(path)!r}', max_pixels)


def decode_image(data: bytes, name: str = 'the image', max_pixels: int = MAX_FILE_PIXELS) -> np.ndarray:
    """Encoded image bytes -> uint8 [H, W, 3], transparency on white. `name` begins the sentence of an error (ValueError)."""
    try:
        with warnings.catch_warnings():
            # Pillow warns about size and odd metadata; the size is checked here before any pixel is decoded
            warnings.simplefilter('ignore')
            with Image.open(io.BytesIO(data)) as image:
                width, height = image.size
                if width * height > max_pixels:
                    raise ValueError(f'{name} has {width} x {height} pixels, more than {max_pixels}; make it smaller')
                return _on_white(ImageOps.exif_transpose(image))
    except UnidentifiedImageError:
        raise ValueError(f'{name} is not an image that can be read; give a PNG or JPEG file') from None
    except Image.DecompressionBombError:
        raise ValueError(f'{name} has more than {max_pixels} pixels; make it smaller') from None
    except (OSError, SyntaxError, EOFError, IndexError, KeyError, TypeError, OverflowError, MemoryError) as error:
        # what Pillow's decoders raise on damaged files
        raise ValueError(f'{name} is damaged ({type(error).__name__}: {error}); give a whole PNG or JPEG file') from None


def encode_png(image: np.ndarray) -> bytes:
    """uint8 [H, W, 3] -> PNG bytes; the same pixels give the same bytes with the same Pillow."""
    check_image(image)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, 'png', compress_level=6)
    return buffer.getvalue()


def _on_white(image: Image.Image) -> np.ndarray:
    if image.mode.startswith('I'):
        # 16-bit grey: Pillow's own conversion to 8 bits clips instead of scaling
        grey = np.clip(np.asarray(image).astype(np.int64) >> 8, 0, 255).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.mode in ('RGBA', 'LA', 'PA', 'La', 'RGBa') or 'transparency' in image.info:
        image = image.convert('RGBA')
        white = Image.new('RGBA', image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
    return np.array(image.convert('RGB'))
