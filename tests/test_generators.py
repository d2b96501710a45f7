"""Seeds for a while: the CPU's generator and one device's, and no other's."""

from unittest import mock

import pytest
import torch

from kdcourse.system.generators import fork_rng, seeded_rng


def test_a_seed_holds_within_the_block_and_leaves_nothing_behind():
    torch.manual_seed(5)
    wanted = torch.rand(2)
    torch.manual_seed(5)
    with seeded_rng(0):
        drawn = torch.rand(2)
    assert torch.equal(torch.rand(2), wanted)
    assert torch.equal(drawn, torch.rand(2, generator=torch.Generator().manual_seed(0)))


def test_generators_are_as_before_after_an_error():
    before = torch.get_rng_state()
    with pytest.raises(ZeroDivisionError), fork_rng():
        torch.rand(1)
        raise ZeroDivisionError
    assert torch.equal(torch.get_rng_state(), before)


def test_no_gpu_is_seeded_for_work_on_the_cpu():
    with (
        mock.patch.object(torch.cuda, "manual_seed_all") as everyone,
        mock.patch.object(torch.mps, "manual_seed") as mps,
        seeded_rng(0),
    ):
        pass
    everyone.assert_not_called()
    mps.assert_not_called()


def test_the_gpu_at_work_alone_is_seeded():
    place, seen = torch.device("cuda", 1), []
    with (
        mock.patch.object(torch.random, "fork_rng", mock.MagicMock()) as forked,
        mock.patch.object(torch.cuda, "device", mock.MagicMock(side_effect=lambda one: mock.MagicMock())) as chosen,
        mock.patch.object(torch.cuda, "manual_seed", seen.append),
        seeded_rng(3, place),
    ):
        assert seen == [3]
    forked.assert_called_once_with(devices=[place])
    chosen.assert_called_once_with(place)


def test_an_apple_gpus_generator_is_put_back():
    with (
        mock.patch.object(torch.mps, "get_rng_state", lambda: "kept"),
        mock.patch.object(torch.mps, "set_rng_state") as put_back,
        mock.patch.object(torch.mps, "manual_seed") as seed,
        seeded_rng(4, torch.device("mps")),
    ):
        put_back.assert_not_called()
    seed.assert_called_once_with(4)
    put_back.assert_called_once_with("kept")
