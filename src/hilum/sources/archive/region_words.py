"""Words by which descriptions name the chest or another part of the body, in the languages of many hospitals."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache

_LETTERS = str.maketrans({"ł": "l", "ø": "o", "đ": "d", "ı": "i", "æ": "ae", "œ": "oe"})

CHEST = """
    chest cxr cxray chst thora thor thx thrx torax torac torak lung- pulm- poumon poitrine pecho
    pulmao brustkorb brustraum lunge akciger gogus klatka klatki pluc- hrudni plice plicn mellkas
    tudofel tudorontgen keuhko rintakeh borstkas longfoto torace plaman dada paru nguc phoi
    brostkorg kopsukrut krutine rindkere kruskurv грудн груди легк лёгк флюорограф торакс огк
    грудна θωρακ πνευμον חזה ריאות صدر رئة سینه ریه 胸 肺 흉부 폐 ทรวงอก ปอด छाती
"""
"""Words for the chest or the lungs, without accents: of five letters or more and with a dash behind they
may go on, others stand alone."""

OTHER = """
    abdom kub bauch ventre vientre barriga buik brzuch brich vatsa buk pelv- becken bassin bacino
    bekken miednic panev bacin hip hips huft- hanche cadera anca quadril heup biodr kycel lonkka
    spine spinal tspine cspine lspine sspine tlspine vertebr wirbel rachis colonna columna coluna
    wervel kregos lumbar lumbal lumbo lomb lendenw lws bws hws cervical sacr- coccyx steissbein
    iliosacr extrem limb femur tibia fibula humer ulna forearm unterarm vorderarm avambrac
    unterschenkel oberschenkel pierna jambe gamba perna brazo bras braccio braco arm arms leg legs
    bein beine hand hands mano mains reka dlon ruka foot feet fuss fusse pied pieds piede piedi
    voet voeten stopa noha toe toes zehe zehen orteil teen finger fingers dedo doigt vinger thumb
    daumen wrist wrists handgelenk poignet polso punho muneca pols nadgarst ankle ankles
    sprunggelenk cheville caviglia tornozelo tobillo enkel knee knees knie- genou genoux ginocchio
    rodilla joelho kolan koleno polvi patell elbow elbows ellenbogen ellbogen coude gomito codo
    cotovelo elleboog lokiec loket calcan heel talus metatars metacarp scaphoid shoulder shoulders
    schulter epaule hombro ombro spalla schouder bark ramen clavic schlusselbein scapul
    schulterblatt sternum brustbein rib ribs rippe rippen costal costilla costela zebra acromio
    skull schadel crane craneo cranio cranium schedel czaszk lebka sinus nasal nose orbit mandib
    dental panoram opg ceph- teeth zahn- facial gesicht neck hals cuello collo pescoco mamm-
    breast barium enema esophag oesophag urogr ivp cholang hysterosal colon intestin живот брюшн
    таз таза позвон колен кист стопа стопы череп плеч бедр голен локт пояснич тазобедр κοιλι
    σπονδυλ γονατ λεκαν בטן ברך بطن ركبة قدم حوض شكم زانو 腹 腰 膝 骨盆 骨盤 肩 脊柱 頚椎 頸椎 颈椎 肘 踝 髋 股
    頭部 头部 颅 手部 手指 手関節 足部 足関節 下肢 上肢 鼻 복부 흉추 척추 무릎 골반 손목 어깨 두개 고관절 발목 요추 경추
"""
"""Words for other parts, written alike."""

_SPINE = r"(?:spine|wirbel|vertebr|column|colonn|colun|rachis|wervel|kregos|gerinc|paters|pater)\w*"
_THORACIC = r"(?:thora|tora|dors|brust|piersiow|hrudn)\w*"
THORACIC_SPINE = re.compile(
    rf"{_THORACIC}[\W_]*{_SPINE}|{_SPINE}[\W_]*{_THORACIC}|\b[td][\W_]?spine|\btl[\W_]?spine|\b(?:bws|tws)\b"
    r"|(?:thora|tora|dorso)\w*(?:lumb|lomb)\w*|胸椎|胸腰椎|грудн\w*[\W_]+(?:отдел\w*[\W_]+)?позвон\w*"
)
"""Names of the thoracic spine, which contain a word for the chest."""

MOST_TEXTS = 10_000
"""Texts whose plain form is kept in memory, each of at most a thousand letters."""

TAG_OTHER = ("head", "skeleton", "jaw", "ext")
"""Values of Body Part Examined for other parts, whose words mean other things in descriptions."""


@lru_cache(maxsize=MOST_TEXTS)  # an archive's films share their descriptions
def normal(text: str) -> str:
    """Return a text in small letters without accents, words that were run together by capitals apart.

    >>> normal("ThoraxPA Übersicht"), normal("Klatka piersiowa, płuca")
    ('thorax pa ubersicht', 'klatka piersiowa, pluca')
    """
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    plain = unicodedata.normalize("NFKD", apart.casefold().translate(_LETTERS))
    return "".join(sign for sign in plain if not unicodedata.combining(sign))


@dataclass(frozen=True)
class RegionWords:
    """The words above, and a hospital's own."""

    chest: tuple[str, ...] = ()
    other: tuple[str, ...] = ()

    @cached_property
    def patterns(self) -> tuple[re.Pattern[str], re.Pattern[str]]:
        """The patterns of the words for the chest and of those for other parts."""
        within = ("chest", "thorax", "torax", "toraks")
        return (
            _pattern((*CHEST.split(), *self.chest), within),
            _pattern((*OTHER.split(), *self.other)),
        )

    def named(self, texts: Iterable[str]) -> str:
        """Return chest where any of the texts names it, other where they name another part alone, else nothing.

        >>> words = RegionWords()
        >>> words.named(["Thorax p.a. stehend"]), words.named(["BWS seitlich"]), words.named(["W042"])
        ('chest', 'other', '')
        >>> words.named(["chest and abdomen"]), words.named(["Thoracic spine AP"])
        ('chest', 'other')
        """
        return _region(self, tuple(texts))


@lru_cache(maxsize=MOST_TEXTS)
def _region(words: RegionWords, texts: tuple[str, ...]) -> str:
    chest, other = words.patterns
    joined = " | ".join(map(normal, texts))
    rest = THORACIC_SPINE.sub(" ", joined)
    if chest.search(rest):
        return "chest"
    return "other" if rest != joined or other.search(rest) else ""


_SHORT = 4
"""Letters up to which a word must stand alone: hip is no hippocampus, arm no army."""


def _pattern(words: Iterable[str], within: Iterable[str] = ()) -> re.Pattern[str]:
    """Return the pattern of words, and of some that may stand within others: RXTORAX, PCHEST."""
    forms = list(within)
    for word in dict.fromkeys(normal(word.strip()) for word in words):
        form = re.escape(word.removesuffix("-"))
        if form and not word.isascii():
            forms.append(form)
        elif form:
            goes_on = len(word) > _SHORT  # with its dash
            forms.append(rf"(?<![a-z]){form}{'' if goes_on else '(?![a-z])'}")
    return re.compile("|".join(forms))
