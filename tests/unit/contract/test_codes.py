"""Texts: complete in both languages, and rendering never fails."""

import copy
import pickle
from string import Formatter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.codes import Code, Language, Reason, Refused, Why, text


def placeholders(template: str) -> list[str]:
    return sorted({name for _, name, _, _ in Formatter().parse(template) if name is not None})


@pytest.mark.parametrize("code", Code, ids=lambda code: str(int(code)))
def test_code_has_a_text_in_both_languages_with_the_same_arguments(code: Code) -> None:
    english, chinese = code.english, code.chinese
    assert english
    assert chinese
    assert placeholders(english) == placeholders(chinese) == [str(n) for n in range(len(placeholders(english)))]
    assert code is Code.SUCCESS or not chinese.isascii()
    assert english.isascii()


@pytest.mark.parametrize("reason", Reason)
def test_reason_has_a_text_in_both_languages(reason: Reason) -> None:
    assert reason.english.isascii()
    assert not reason.chinese.isascii()
    assert Reason(str(reason)) is reason


@pytest.mark.parametrize("why", Why)
def test_why_has_a_text_in_both_languages_and_stands_at_the_end(why: Why) -> None:
    assert why.english.isascii()
    assert not why.chinese.isascii()
    # As it comes back from a stored report: a plain word.
    assert text(Code.PARAM_INVALID, ("on_existing", str(why))) == f"on_existing is not valid: {why.english}"
    assert text(Code.PARAM_INVALID, ("a", why), "zh", path="b") == f"参数 a 校验不通过（b）：{why.chinese}"


def test_numbers_are_cmdbs_or_ours() -> None:
    ours = {int(code) for code in Code if 1190000 <= code < 1199000}
    assert ours == {1190001, 1190002, 1190003, 1190004, 1190006, 1190007, 1190008, 1190009, 1190010, 1190011} | {
        1190012,
        1190013,
        1190014,
        1190016,
        1190017,
        1190018,
        1190015,
    }
    assert Code(1113016) is Code.INSTANCE_EXISTS


@given(
    st.sampled_from(Code),
    st.lists(st.text() | st.integers() | st.lists(st.integers())),
    st.sampled_from(["en", "zh"]),
    st.text(),
)
def test_rendering_never_fails(code: Code, args: list[object], language: Language, path: str) -> None:
    assert text(code, args, language, path=path)


def test_argument_is_data_and_not_a_template() -> None:
    assert text(Code.PARAM_INVALID, ("{0.__class__} %s {9}",)) == "{0.__class__} %s {9} is not valid"


def test_list_is_shown_as_its_items() -> None:
    assert text(Code.HOST_NOT_IN_MODULE, ([10000, 10001],)).endswith("10000, 10001")


def test_path_is_added_once() -> None:
    path = "instances[3].processes[0].process_info.timeout"
    assert Refused.field(Code.VALUE_INVALID, path).message() == f"The value of {path} is not allowed"
    assert Refused(Code.MODULE_NOT_FOUND, path="bk_module_id").message() == "No such module (bk_module_id)"
    assert Refused(Code.MODULE_NOT_FOUND, path="bk_module_id").message("zh") == "模块不存在（bk_module_id）"


def test_refusal_as_a_document() -> None:
    assert Refused.field(Code.PARAM_NOT_INT, "bk_biz_id").document() == {
        "path": "bk_biz_id",
        "code": 1199009,
        "message": "bk_biz_id must be an integer",
    }


@pytest.mark.parametrize("clone", [copy.copy, lambda refused: pickle.loads(pickle.dumps(refused))])
def test_refusal_can_be_copied(clone: object) -> None:
    again = clone(Refused(Code.MODULE_NOT_IN_BIZ, 60, 1, path="bk_module_id"))  # type: ignore[operator]
    assert (again.code, again.message_args, again.path) == (Code.MODULE_NOT_IN_BIZ, (60, 1), "bk_module_id")
