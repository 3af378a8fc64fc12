"""Is memory reliable for a moment, and no longer?"""

import copy
import pickle

import pytest
import torch
import torch._dynamo.testing
from faulty_networks import ERRORS, images, injected

import eden


def test_clean_refuses_what_would_outlive_it():
    model = injected()
    x = images()
    with eden.clean(model):
        reliable = model(x)
        for name, act in (
            ("inject_", lambda: eden.inject_(model, eden.Faults(ERRORS))),
            ("remove_", lambda: eden.remove_(model)),
        ):
            with pytest.raises(ValueError, match=f"call {name} outside of eden.clean"):
                act()
        for copier in (copy.deepcopy, pickle.dumps):
            with pytest.raises(RuntimeError, match=r"outside of eden\.clean"):
                copier(model)
    assert not torch.equal(model(x), reliable), "the errors are back"
