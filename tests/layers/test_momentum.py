"""The ring of features at every place, and twins that follow."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vlcourse.layers.momentum import FeatureQueue, Momentum


@pytest.mark.parametrize("place", range(8))
@pytest.mark.parametrize("count", [1, 3, 8, 11])
def test_any_number_of_rows_at_any_place(place: int, count: int) -> None:
    queue = FeatureQueue(8, 2)
    before = [tuple(row) for row in queue.rows.tolist()]
    queue.place.fill_(place)
    for i in range(count):
        before[(place + i) % 8] = (float(i), 0.5)
    rows = torch.tensor([[float(i), 0.5] for i in range(count)])
    queue.hold(rows)
    assert queue.rows.tolist() != torch.tensor(before).tolist()  # not before the step is done
    queue.write()
    assert queue.rows.tolist() == torch.tensor(before).tolist()
    assert int(queue.place) == (place + count) % 8
    after = queue.rows.clone()
    queue.write()  # once
    assert torch.equal(queue.rows, after) and int(queue.place) == (place + count) % 8


def test_batches_of_a_step_enter_in_their_order_with_their_ids() -> None:
    queue = FeatureQueue(4, 1)
    queue.hold(torch.tensor([[1.0], [2.0]]), torch.tensor([10, 20]))
    queue.hold(torch.tensor([[3.0]], dtype=torch.bfloat16))
    queue.write()
    assert queue.rows[:3, 0].tolist() == [1, 2, 3] and queue.ids.tolist() == [10, 20, -1, -1]
    other = FeatureQueue(4, 1)
    other.load_state_dict(queue.state_dict())
    for each in (queue, other):
        each.hold(torch.tensor([[4.0], [5.0]]))
        each.write()
    assert queue.rows[:, 0].tolist() == other.rows[:, 0].tolist() == [5, 2, 3, 4]


def test_it_begins_with_unit_vectors_and_may_be_empty() -> None:
    torch.testing.assert_close(FeatureQueue(5, 3).rows.norm(dim=1), torch.ones(5))
    empty = FeatureQueue(0, 3)
    empty.hold(torch.randn(2, 3))
    empty.write()
    assert empty.rows.shape == (0, 3) and int(empty.place) == 0


class Source(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tower = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
        self.rest = nn.Linear(3, 3)


def test_twins_follow_and_never_have_a_gradient() -> None:
    source = Source()
    twins = Momentum(tower=nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)))
    source.tower(torch.randn(7, 2))  # moves the source's statistics
    twins.copy(source)
    for name, tensor in twins.state_dict().items():
        assert torch.equal(tensor, source.state_dict()[name]), name
    old = {name: p.clone() for name, p in twins.named_parameters()}
    with torch.no_grad():
        for parameter in source.parameters():
            parameter.add_(1)
    twins.follow(source, 0.9)
    for name, parameter in twins.named_parameters():
        torch.testing.assert_close(parameter, 0.9 * old[name] + 0.1 * source.get_parameter(name))
        assert not parameter.requires_grad and name.startswith("tower.")
