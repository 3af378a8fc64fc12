"""Does a preset say what it promises?"""

import pytest
import torch
import torch._dynamo.testing
from faulty_networks import linear

import eden


def test_the_preset_for_8_bits_is_what_did_best():
    errors, other = eden.Uniform(1e-3), eden.Uniform(1e-4)
    preset = eden.Faults.int8(errors, seed=3)
    said = {"storage": "int8_sign_magnitude", "input_storage": "uint8", "correction": "zero", "percentile": 99.9}
    assert preset == eden.Faults(errors, errors, seed=3, **said)
    assert eden.Faults.int8(errors, inputs=other, correction="clamp").inputs == other
    model, x = linear()
    x = torch.cat([x.abs(), torch.full((1, 12), 100.0)])
    eden.inject_(model, eden.Faults.int8(errors, percentile=95.0))
    assert eden.ranges(eden.calibrate_(model, [x]))["0.input"][1] < 4.0
    assert eden.ranges(eden.calibrate_(model, [x], percentile=100.0))["0.input"][1] == 100.0
    with pytest.raises(ValueError, match=r"Faults\.percentile is 0\.999; allowed is above 50 to 100"):
        eden.Faults.int8(errors, percentile=0.999)


def test_a_code_says_the_storages():
    errors = eden.Uniform(1e-3)
    hamming = eden.Faults.int8(errors, code="hamming")
    assert (hamming.storage, hamming.input_storage) == ("int6_sign_magnitude_hamming", "uint6_hamming")
    assert (hamming.correction, hamming.percentile) == ("zero", 99.9)
    secded = eden.Faults.int8(errors, code="secded", weight_channels=True)
    assert (secded.storage, secded.input_storage) == ("int8_sign_magnitude_secded", "uint8_secded")
    assert (secded.correction, secded.weight_channels) == ("clamp", True)
    with pytest.raises(ValueError, match="code is 'parity'; allowed are None, hamming, secded"):
        eden.Faults.int8(errors, code="parity")
    with pytest.raises(ValueError, match=r"code is 'hamming'.*storage"):
        eden.Faults.int8(errors, code="hamming", storage="int8")
