"""Image preprocessing equals, bit for bit, that of transformers' Pillow processor (bicubic); unsuitable images are refused."""

import io
import struct
import sys
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from recoder_jax.dialogue.images import ImageProcessor, decode_image, encode_png, load_image, smart_resize


def picture(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture(scope='module')
def reference():
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    return Qwen2VLImageProcessorPil


CHECKPOINT = (3_136, 12_845_056)  # preprocessor_config.json of the published checkpoints
CONFIGURED = (4 * 28 * 28, 1280 * 28 * 28)  # the files of configs/ for 7B


@pytest.mark.parametrize('limits', [CONFIGURED, CHECKPOINT, (50_176, 100_352)], ids=['configured', 'of the checkpoint', 'narrow'])
@pytest.mark.parametrize('size', [(224, 224), (480, 640), (37, 91), (1, 150), (5, 6), (70, 42), (1201, 903), (2000, 33), (1600, 2400)])
def test_patches_equal_the_reference_bit_for_bit(reference, size, limits):
    image = picture(*size)
    processor = reference(min_pixels=limits[0], max_pixels=limits[1])
    expected = processor(images=[image], return_tensors='np', input_data_format='channels_last')
    patches = ImageProcessor(*limits)(image)
    assert processor.resample == Image.Resampling.BICUBIC
    assert patches.values.dtype == np.float32
    assert np.array_equal(patches.values, expected['pixel_values'])
    assert (1, *patches.grid) == tuple(expected['image_grid_thw'][0])
    assert patches.merged * 4 == len(patches.values)


@given(st.integers(1, 6000), st.integers(1, 6000), st.sampled_from([CONFIGURED, CHECKPOINT]))
@settings(max_examples=200, deadline=None)
def test_size_equals_the_reference_up_to_the_cap_and_beyond(reference, height, width, limits):
    resized = sys.modules[reference.__module__].smart_resize
    if max(height, width) <= 200 * min(height, width):
        assert smart_resize(height, width, *limits) == resized(height, width, 28, *limits)


@given(st.integers(1, 3000), st.integers(1, 3000))
@settings(max_examples=200, deadline=None)
def test_size_is_a_multiple_of_28_within_the_limits(height, width):
    if max(height, width) > 200 * min(height, width):
        with pytest.raises(ValueError, match='crop it'):
            smart_resize(height, width, 3_136, 1_003_520)
        return
    rows, columns = smart_resize(height, width, 3_136, 1_003_520)
    assert rows % 28 == columns % 28 == 0
    assert rows * columns >= 3_136
    # a side is never rounded below 28, so only a strip may stay over the cap
    assert rows * columns <= 1_003_520 or 28 in (rows, columns)


def test_key_tells_images_apart_and_repeats():
    process = ImageProcessor()
    image = picture(56, 84)
    other = image.copy()
    other[0, 0, 0] ^= 1
    assert process(image).key == process(image.copy()).key
    assert len({process(image).key, process(other).key, process(image.reshape(84, 56, 3)).key}) == 3


@pytest.mark.parametrize('image', [
    picture(20, 30).astype(np.float32), picture(20, 30)[..., :2], picture(20, 30)[..., 0], picture(20, 30)[:0], [[1, 2, 3]],
])
def test_anything_but_an_rgb_byte_array_is_refused(image):
    with pytest.raises(ValueError, match='uint8'):
        ImageProcessor()(image)


def test_contradicting_limits_are_refused():
    with pytest.raises(ValueError, match='do not fit together'):
        ImageProcessor(min_pixels=10_000, max_pixels=5_000)


def saved(image, form, **options):
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def test_png_round_trip_keeps_every_pixel_and_byte():
    image = picture(31, 17)
    assert np.array_equal(decode_image(encode_png(image)), image)
    assert encode_png(image) == encode_png(image.copy())


def test_transparency_becomes_white():
    clear = Image.new('RGBA', (4, 3), (10, 20, 30, 0))
    half = Image.new('RGBA', (4, 3), (0, 0, 0, 128))
    palette = Image.new('P', (4, 3), 0)
    assert (decode_image(saved(clear, 'png')) == 255).all()
    assert (decode_image(saved(half, 'png')) == 127).all()
    assert (decode_image(saved(palette, 'png', transparency=0)) == 255).all()


def test_grey_cmyk_and_16_bit_files_become_rgb():
    assert decode_image(saved(Image.new('L', (4, 3), 77), 'png')).tolist() == [[[77] * 3] * 4] * 3
    assert decode_image(saved(Image.new('CMYK', (4, 3)), 'jpeg')).shape == (3, 4, 3)
    deep = Image.fromarray(np.full((3, 4), 0x8040, np.uint16))
    assert (decode_image(saved(deep, 'png')) == 0x80).all()


def test_rotated_photo_is_turned_upright():
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decode_image(saved(Image.new('RGB', (40, 20)), 'jpeg', exif=exif)).shape == (40, 20, 3)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='nowhere.png'):
        load_image(tmp_path / 'nowhere.png')
    with pytest.raises(FileNotFoundError, match='no image file'):
        load_image(tmp_path)


@pytest.mark.parametrize('content', [b'', b'not an image', encode_png(picture(64, 64))[:500], saved(Image.new('RGB', (99, 99)), 'jpeg')[:300]])
def test_damaged_file_is_refused_in_one_sentence(tmp_path, content):
    file = tmp_path / 'chart.png'
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r'(damaged|not an image)') as caught:
        load_image(file)
    assert '\n' not in str(caught.value)


@given(st.binary(max_size=60), st.integers(0, 400))
@settings(max_examples=150, deadline=None)
def test_flipped_bytes_never_raise_anything_else(noise, place):
    whole = encode_png(np.full((16, 16, 3), 200, np.uint8))
    try:
        decode_image(whole[:place] + noise + whole[place + len(noise):])
    except ValueError as error:
        assert 'the image' in str(error)


def claiming(width, height):
    """A PNG whose header claims a size that its data do not have."""
    file = encode_png(picture(8, 8))
    header = b'IHDR' + struct.pack('>II', width, height) + file[24:29]
    return file[:12] + header + struct.pack('>I', zlib.crc32(header)) + file[33:]


@pytest.mark.parametrize('side', [9_000, 14_000, 2_000_000_000])
def test_huge_image_is_refused_before_it_is_decoded(side):
    with pytest.raises(ValueError, match='make it smaller'):
        decode_image(claiming(side, side))
