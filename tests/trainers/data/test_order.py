"""The order is seeded, fair, and can be resumed."""

import pytest

from trainers.data.order import Cursor


def test_everything_comes_once_before_anything_comes_twice() -> None:
    cursor = Cursor(5, 0, student_share=1, seed=3)
    epochs = [cursor.draw(5) for _ in range(3)]
    assert [sorted(epoch) for epoch in epochs] == [[0, 1, 2, 3, 4]] * 3
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_resuming_continues_the_order() -> None:
    cursor = Cursor(4, 3, student_share=0.5, seed=1)
    cursor.draw(9)
    later = Cursor(4, 3, student_share=0.5, seed=1)
    later.load_state_dict(cursor.state_dict())
    assert later.draw(20) == cursor.draw(20)
    assert Cursor(4, 3, student_share=0.5, seed=2).draw(29) != cursor.draw(29)


def test_the_share_is_the_students() -> None:
    drawn = Cursor(10, 10, student_share=0.25, seed=0).draw(2000)
    students = sum(number < 10 for number in drawn) / 2000
    assert abs(students - 0.25) < 0.03  # three standard errors
    assert set(drawn) == set(range(20))
    assert min(Cursor(10, 10, student_share=0, seed=0).draw(50)) >= 10
    assert max(Cursor(10, 10, student_share=1, seed=0).draw(50)) < 10


@pytest.mark.parametrize(("student", "teacher", "share"), [(0, 3, 0.5), (3, 0, 0.5), (0, 3, 1.0)])
def test_a_share_of_nothing_is_refused(student: int, teacher: int, share: float) -> None:
    with pytest.raises(ValueError, match="needs trajectories of the"):
        Cursor(student, teacher, student_share=share, seed=0)
