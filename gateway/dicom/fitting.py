"""An order cut to what a machine asked for and can take."""

import logging
from collections.abc import Iterable, Iterator, Sequence

from pydicom.datadict import dictionary_VR, tag_for_keyword

from gateway.dicom import charset
from gateway.dicom.encoding import TEXT_VRS, Field, is_sayable
from gateway.dicom.keys import STEPS, Key
from gateway.dicom.profiles import Groups, Profile
from gateway.dicom.transliteration import romanised
from gateway.model.ids import OrderId
from gateway.model.order import Attributes, Value

log = logging.getLogger(__name__)


class KeptBack(Exception):
    """The machine could not take the entry. The text names the field and the rule, never the value."""


class Fitting:
    """Makes one answer after the rules of a profile. `step_keys` are those of a Scheduled Procedure Step's item."""

    def __init__(self, profile: Profile, step_keys: Iterable[str], order_id: OrderId) -> None:
        self._profile, self._step_keys, self._order_id = profile, frozenset(step_keys), order_id
        self._is_romanised = False
        self._asked: Sequence[str] = ()
        self._texts: list[tuple[str, str]] = []

    def fit(
        self, attributes: Attributes, keys: Sequence[Key], asked: Sequence[str]
    ) -> tuple[tuple[Field, ...], tuple[str, ...]]:
        """The fields, and the character set that holds them. `asked` is the set of the request.

        Raises KeptBack when the machine could not take them.
        """
        self._asked = asked
        fields = tuple(self._cut(attributes, keys))
        try:
            return fields, self._set()
        except ValueError:
            if not self._profile.is_transliterated:
                raise self._kept_back() from None
        self._texts, self._is_romanised = [], True
        fields = tuple(self._cut(attributes, keys))
        try:
            return fields, self._set()
        except ValueError:
            raise self._kept_back() from None

    def _set(self) -> tuple[str, ...]:
        return charset.choose((text for _, text in self._texts), self._asked, self._profile.charsets)

    def _kept_back(self) -> KeptBack:
        """Names the first field that no set holds, or all when only together none does."""
        for keyword, text in self._texts:
            if not self._holds(text):
                return KeptBack(f"{keyword}: cannot be written in a character set that the machine reads")
        return KeptBack("its texts cannot be written in one character set that the machine reads")

    def _holds(self, text: str) -> bool:
        try:
            charset.choose((text,), self._asked, self._profile.charsets)
        except ValueError:
            return False
        return True

    def _cut(self, attributes: Attributes, keys: Iterable[Key]) -> Iterator[Field]:
        """Exactly the keys, as far as the machine wants them."""
        for key in keys:
            value: Value = attributes.get(key.keyword, "")
            if key.keyword == STEPS:
                value = ({name: attributes[name] for name in self._step_keys if name in attributes},)
            inner = key.items[0] if key.items else ()
            field = self._field(key.tag, key.keyword, key.vr, value, inner)
            if field is not None:
                yield field

    def _whole(self, attributes: Attributes) -> Iterator[Field]:
        """Everything there is."""
        for keyword, value in attributes.items():
            tag = tag_for_keyword(keyword)
            if tag is not None:
                field = self._field(tag, keyword, dictionary_VR(tag).split(" or ")[0], value, ())
                if field is not None:
                    yield field

    def _field(self, tag: int, keyword: str, vr: str, value: Value, inner: tuple[Key, ...]) -> Field | None:
        profile = self._profile
        if keyword in profile.omitted:
            return None
        value = value or profile.filled.get(keyword, "")
        if not value and keyword in profile.required:
            raise KeptBack(f"{keyword}: the machine needs it, and it is empty")
        if not value and keyword in profile.omitted_when_empty:
            return None
        if vr == "SQ":
            items = () if isinstance(value, str) else value
            cut = [tuple(self._cut(item, inner) if inner else self._whole(item)) for item in items]
            return Field(tag=tag, keyword=keyword, vr=vr, items=tuple(cut))
        text = self._text(keyword, vr, value) if isinstance(value, str) else ""
        if not is_sayable(vr, text):
            log.warning("worklist.value_left_out", extra={"order": self._order_id, "keyword": keyword})
            if keyword in profile.required:
                raise KeptBack(f"{keyword}: the machine needs it, and it does not fit {vr}")
            text = ""
        if text and vr in TEXT_VRS:
            self._texts.append((keyword, text))
        return Field(tag=tag, keyword=keyword, vr=vr, text=text)

    def _text(self, keyword: str, vr: str, text: str) -> str:
        """The text as the machine takes it."""
        profile = self._profile
        if vr in TEXT_VRS:
            if vr == "PN":
                text = self._name(keyword, text)
            for char, instead in profile.replaced.items():
                if vr != "PN" or char not in "^=":  # these part a name
                    text = text.replace(char, instead)
            if self._is_romanised and not self._holds(text):
                text = romanised(text)
        longest = profile.longest.get(keyword)
        if longest is None or len(text) <= longest:
            return text
        if not profile.is_cut:
            raise KeptBack(f"{keyword}: longer than the {longest} characters that the machine takes")
        return text[:longest].rstrip(" ^=")

    def _name(self, keyword: str, name: str) -> str:
        """Source: DICOM PS3.5 6.2.1."""
        profile = self._profile
        groups = name.split("=")
        if profile.groups is Groups.ALPHABETIC and name:
            groups = groups[:1]
            if not groups[0]:
                raise KeptBack(f"{keyword}: has no alphabetic form, the only one that the machine shows")
        if profile.components < 5:
            groups = ["^".join(group.split("^")[: profile.components]).rstrip("^") for group in groups]
        text = "=".join(groups)
        return text.upper() if profile.is_upper else text
