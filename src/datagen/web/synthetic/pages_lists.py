"""Lists, tables and registers that name all subjects of a relation, and say so.

    This is a complete list of all football clubs that play in Liga Ngumu.

A list is written only where it is whole: at most `_MOST` members, every one of them named. Lists of what changes
carry their day. Types with few entities also have a register of all their members. All are dated in the last month of
the world, so nothing that exists is missing from them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from datagen.knowledge.catalogue import CLOSURE_MEMBERS_FORMS, CLOSURE_SUBJECTS_FORMS, Relation
from datagen.web.synthetic.desk import TODAY, Desk
from datagen.web.synthetic.draws import Ring
from datagen.web.synthetic.html import Document, bullets, paragraph, table
from datagen.web.synthetic.layout import Ref
from datagen.web.synthetic.names import slug
from datagen.web.synthetic.phrasing import capitalise, day_words, iso_day

_MOST = 60
_SMALL_TYPE = 60
"""Types up to this size have a register of all members."""
_SCARCE, _CROWDED = 1.1, 40.0
"""Mean number of subjects per object below which most lists would be empty, so that pages are numbered by a member
rather than by the object; and above which a list would be endless."""
_LISTED_CHANGES = ("plays_for", "main_sponsor")
_COLUMNS = 3
_MEMBER_RATE = 2
"""One in so many members of lists numbered by member has a page: their lists are short."""
HOSTS = {"list": "lists.almanor.example", "table": "data.tabulon.example", "registry": "register.civica.example"}
_SITES = {"list": "Almanor Lists", "table": "Tabulon Data", "registry": "Civica Register"}
_TYPES = {"list": "CollectionPage", "table": "Dataset", "registry": "WebPage"}
_REMARKS = (
    "Entries are checked twice a year.", "Send corrections to the editors by post.", "Names follow local spelling.",
    "The order of entries has no meaning.", "Sources are kept on file in the reading room.",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ListSpec:
    """Lists of entities of `subject_type` that share an object of `object_type`."""

    relation: Relation
    subject_type: str
    object_type: str
    pages: int
    by_member: bool
    """Page k is the list on which the k-th subject comes first, rather than that of the k-th object."""

    @property
    def numbered_type(self) -> str:
        return self.subject_type if self.by_member else self.object_type


class ListPages:
    """Plans and writes list pages."""

    def __init__(self, desk: Desk, budget: int) -> None:
        self._desk, self._say, self._world = desk, desk.phrasing, desk.world
        self._kinds = self._world.ontology.kinds
        self.specs = tuple(self._plan(budget))
        self._by_path = {(s.subject_type, s.relation.id, s.object_type): s for s in self.specs}
        self.small_types = tuple(t for t, n in self._world.layout.sizes.items() if n <= _SMALL_TYPE)
        self._rings = {
            s: Ring(
                self._world.layout.sizes[s.numbered_type],
                self._world.draws.bits(f"lists/{s.relation.id}/{s.subject_type}/{s.object_type}"),
            )
            for s in self.specs
        }

    def _plan(self, budget: int) -> list[ListSpec]:
        """All lists that could be written, thinned evenly to the budget."""
        possible = self._possible()
        total = sum(spec.pages for spec in possible)
        share = min(1.0, budget / total) if total else 0.0
        return [scaled for spec in possible if (scaled := replace(spec, pages=int(spec.pages * share))).pages]

    def _possible(self) -> list[ListSpec]:
        sizes, catalogue = self._world.layout.sizes, self._world.ontology.catalogue
        found = []
        for relation in catalogue.relations.values():
            if relation.object_kind != "entity" or (relation.changes and relation.id not in _LISTED_CHANGES):
                continue
            for subject_type in self._world.ontology.subject_kinds(relation):
                for object_type in relation.object_types:
                    if object_type not in sizes or relation.id == "spouse":
                        continue
                    mean = sizes[subject_type] / sizes[object_type]
                    by_member = mean < _SCARCE
                    if mean <= _CROWDED and not (by_member and relation.changes):
                        pages = sizes[subject_type] // _MEMBER_RATE if by_member else sizes[object_type]
                        found.append(ListSpec(relation, subject_type, object_type, pages, by_member))
        return found

    # -- what a list holds ---------------------------------------------------------------------------------------------

    def target(self, spec: ListSpec, number: int) -> Ref | None:
        """The object whose subjects page `number` of a spec lists; None where there is no such page."""
        index = self._rings[spec].inverse(number)
        if not spec.by_member:
            return Ref(spec.object_type, index)
        objects = self._world.objects(Ref(spec.subject_type, index), spec.relation.id)
        return next((o for o in objects if o.type == spec.object_type), None)

    def members(self, spec: ListSpec, target: Ref, day: int) -> tuple[Ref, ...]:
        """All subjects as of a day; empty where there are too few or too many for a page, or the object has no page."""
        if spec.relation.changes:
            tenures = self._world.held_by(target, spec.relation.id, spec.subject_type)
            found = tuple(dict.fromkeys(t.subject for t in tenures if t.covers(day)))
        else:
            found = self._world.subjects(target, spec.relation.id, spec.subject_type)
        least = 2 if self.medium(spec, target) == "list" else 1
        good = least <= len(found) <= _MOST and self._desk.addresses.home(target) is not None
        return found if good else ()

    def day(self, spec: ListSpec, target: Ref) -> int:
        name = f"listed/{spec.relation.id}/{spec.subject_type}"
        return TODAY - 1 - self._world.draws.below(27, name, target.index)

    def medium(self, spec: ListSpec, target: Ref) -> str:
        draw = self._world.draws.below(10, f"medium/{spec.relation.id}/{spec.subject_type}", target.index)
        return "list" if draw < 5 else "table" if draw < 8 else "registry"

    def exists(self, spec: ListSpec, number: int) -> bool:
        target = self.target(spec, number)
        return target is not None and self._number(spec, target) == number

    def _number(self, spec: ListSpec, target: Ref) -> int | None:
        """The number of the page that lists the subjects of `target`; None where there is none."""
        members = self.members(spec, target, self.day(spec, target))
        if not members:
            return None
        number = self._rings[spec].forward(members[0].index if spec.by_member else target.index)
        return number if number < spec.pages else None

    # -- addresses -----------------------------------------------------------------------------------------------------

    def url(self, spec: ListSpec, target: Ref) -> str:
        folder = self._desk.addresses.folder_of
        host = HOSTS[self.medium(spec, target)]
        of = f"{folder[spec.object_type]}/{self._desk.addresses.label(target)}"
        return f"https://{host}/lists/{folder[spec.subject_type]}/{slug(spec.relation.id.replace('_', '-'))}/{of}"

    def find(self, parts: list[str]) -> tuple[ListSpec, Ref] | None:
        """`football-clubs/plays-in/football-leagues/liga-ngumu-101`, when there is such a page."""
        addresses = self._desk.addresses
        types = addresses.type_of_folder
        if len(parts) != 4 or parts[0] not in types or parts[2] not in types:
            return None
        spec = self._by_path.get((types[parts[0]], parts[1].replace("-", "_"), types[parts[2]]))
        target = addresses.find(parts[2], parts[3])
        if spec is None or target is None or self._number(spec, target) is None:
            return None
        return spec, target

    def members_url(self, type_id: str) -> str:
        return f"https://{HOSTS['registry']}/all/{self._kinds[type_id].folder}"

    # -- pages ---------------------------------------------------------------------------------------------------------

    def page(self, spec: ListSpec, target: Ref) -> Document:
        day, medium = self.day(spec, target), self.medium(spec, target)
        members = self.members(spec, target, day)
        plural = self._kinds[spec.subject_type].words.plural
        draw = self._world.draws.bits(f"closing/{spec.relation.id}/{spec.subject_type}", target.index)
        clues = [clue for clue in spec.relation.clue if fits_plural(clue)]
        clue = clues[draw % len(clues)]
        form = CLOSURE_SUBJECTS_FORMS[(draw >> 8) % len(CLOSURE_SUBJECTS_FORMS)]
        sentence = form.format(plural=plural, clue=clue.replace("{o}", self._say.mention(target)))
        if spec.relation.changes or (draw >> 16) % 3 == 0:
            sentence += f", as of {day_words(day)}"
        title = f"{capitalise(plural)} {clue.replace('{o}', self._say.name(target))}"
        url = self.url(spec, target)
        return self._document(url, title, medium, sentence=sentence, members=members, day=day)

    def members_page(self, type_id: str) -> Document:
        """The register of all entities of a small type."""
        kind = self._kinds[type_id]
        draw = self._world.draws.bits(f"closing members/{type_id}")
        form = CLOSURE_MEMBERS_FORMS[draw % len(CLOSURE_MEMBERS_FORMS)]
        members = tuple(Ref(type_id, i) for i in range(self._world.layout.sizes[type_id]))
        ordered = tuple(sorted(members, key=self._say.name))
        title = f"Register of {kind.words.plural}"
        sentence = form.format(plural=kind.words.plural)
        url, day = self.members_url(type_id), TODAY - draw % 20
        return self._document(url, title, "registry", sentence=sentence, members=ordered, day=day)

    def _document(
        self, url: str, title: str, medium: str, *, sentence: str, members: tuple[Ref, ...], day: int
    ) -> Document:
        address = f"list/{url}"
        draw = self._world.draws.bits(address)
        remark = _REMARKS[draw % len(_REMARKS)]
        intro = paragraph([sentence + ".", remark])
        if medium == "list":
            content = bullets(self._say.mention(m) for m in members)
        else:
            content = self._table(members, day, draw >> 8)
        body = f"<article>\n<h1>{title}</h1>\n{intro}{content}<p>Last checked on {day_words(day)}.</p>\n</article>\n"
        data = {"@type": _TYPES[medium], "headline": title, "dateModified": iso_day(day), "genre": medium}
        return Document(url, title, _SITES[medium], data, body, og_type="website", menu=("Home", "Browse", "Method"))

    def _table(self, members: tuple[Ref, ...], day: int, draw: int) -> str:
        """Members with a few columns of timeless statements."""
        statements = self._desk.statements
        choice = [r for r in statements.relations[members[0].type] if r.single and not r.changes]
        start = draw % len(choice)
        relations = sorted(
            {choice[(start + n * 2) % len(choice)].id: None for n in range(_COLUMNS)},
            key=[r.id for r in choice].index,
        )
        catalogue = self._world.ontology.catalogue.relations
        columns = [catalogue[r] for r in relations]
        rows = []
        for member in members:
            cells = [self._say.mention(member)]
            for relation in columns:
                known = None if statements.silent(member, relation.id) else statements.state(member, relation, day)
                cells.append("; ".join(self._say.value_words(known, "table")) if known else "")
            rows.append(cells)
        kind = self._kinds[members[0].type].words
        return table([capitalise(kind.singular), *(r.label for r in columns)], rows)


def fits_plural(clue: str) -> bool:
    """Whether a clue form can follow a plural: `clubs whose ...`, `finals that took place ...`, not `that was ...`."""
    first, second, *_ = clue.split()
    return first not in {"that", "who", "which"} or not second.endswith("s")
