"""What was published about other sets, metric by metric, and how each metric is defined here.

A published value stands with what it was measured on and where it is from; a value that this project only has at second
hand says so. Where the definition here is not the published one, `note` says in what it differs: such a pair of figures
may be read side by side, but not subtracted.

FORT is arXiv 2606.12087, WebExplorer 2509.06501 (v3), InfoSeek 2509.00375, BrowseComp-Plus as in its repository.
"counted" means counted by this project in files that those projects publish.
"""

from __future__ import annotations

from dataclasses import dataclass

FORT = "FORT, Tables 11-12: 200 questions per set, one strong agent, one retrieval budget"
SECOND_HAND = "at second hand"


@dataclass(frozen=True, slots=True)
class Published:
    """One published value. `value` is as it was printed."""

    of: str
    value: str
    source: str


@dataclass(frozen=True, slots=True)
class Definition:
    """A metric: what is counted here, beside what was published."""

    key: str
    title: str
    unit: str
    definition: str
    published: tuple[Published, ...] = ()
    note: str = ""
    """In what the definition differs from the published one."""


_FORT_SETS = ("InfoSeek", "MiroVerse-Voyager", "DeepDive", "DeepResearch-9K", "OpenSeeker", "REDSearcher", "FORT")


def _fort(*values: str) -> tuple[Published, ...]:
    return tuple(Published(of, value, FORT) for of, value in zip(_FORT_SETS, values, strict=True))


_INFOSEEK = "InfoSeek"
_WEBEXPLORER = "WebExplorer"
_COUNTED_SAMPLE = "counted in the 100 public rows"
_COUNTED_BROWSECOMP = "counted in the 1,266 questions"
_COUNTED_TREES = "counted in the two trees of the README"
_PLUS = "BrowseComp-Plus"
_BM25 = "BM25 over its 100,195 documents"
_EASIER = (
    "Over a smaller corpus this is easier. The index boosts titles and drops stop words; evidence is what rows list."
)

DEFINITIONS: tuple[Definition, ...] = (
    Definition(
        "kept",
        "kept of attempted",
        "%",
        "accepted questions / candidates",
        (
            Published(_INFOSEEK, "52,138 items", SECOND_HAND),
            Published(_WEBEXPLORER, "about 40,000 items", "paper"),
        ),
        "No share was published; the values are sizes.",
    ),
    Definition(
        "vertices",
        "vertices",
        "mean",
        "vertices of the question's tree: things to be found, and one for each constant, range or class",
        (Published(_INFOSEEK, "mostly 4-6, at least 3", SECOND_HAND), Published(_INFOSEEK, "6; 4", _COUNTED_TREES)),
    ),
    Definition(
        "depth",
        "depth",
        "mean",
        "edges on the longest path from the answer to a leaf",
        (Published(_INFOSEEK, "2; 2", _COUNTED_TREES),),
    ),
    Definition(
        "branching", "branching", "mean", "most children of a vertex", (Published(_INFOSEEK, "3; 2", _COUNTED_TREES),)
    ),
    Definition(
        "leaves", "leaves", "mean", "vertices without children", (Published(_INFOSEEK, "4; 2", _COUNTED_TREES),)
    ),
    Definition(
        "expansions",
        "hops as expansions",
        "mean",
        "accepted expansions of the tree",
        (Published(_INFOSEEK, "2-5", "its builder's code"),),
    ),
    Definition(
        "attribute_share",
        "attribute vertices",
        "%",
        "vertices that are a value, range or class and not a thing / vertices",
        (Published(_INFOSEEK, "50; 0", _COUNTED_TREES),),
    ),
    Definition(
        "claims_per_thing",
        "clues per thing",
        "mean",
        "clues / things that a question describes without naming them",
    ),
    Definition(
        "question_tokens",
        "question length, tokens",
        "mean",
        "tokens of the question",
        (Published(_INFOSEEK, "53.4", SECOND_HAND),),
    ),
    Definition(
        "question_words",
        "question length, words",
        "mean",
        "words between white space",
        (
            Published(_WEBEXPLORER, "97.5", _COUNTED_SAMPLE),
            Published("BrowseComp", "103.3", _COUNTED_BROWSECOMP),
            Published(_INFOSEEK, "41; 32", _COUNTED_TREES),
        ),
    ),
    Definition(
        "question_characters",
        "question length, characters",
        "mean",
        "characters of the question",
        (Published(_WEBEXPLORER, "659", _COUNTED_SAMPLE), Published(_INFOSEEK, "217; 187", _COUNTED_TREES)),
    ),
    Definition(
        "answer_words",
        "answer length, words",
        "mean",
        "words of the answer as it is printed",
        (
            Published(_WEBEXPLORER, "2.2", _COUNTED_SAMPLE),
            Published("BrowseComp", "2.7", _COUNTED_BROWSECOMP),
            Published(_INFOSEEK, "5-6 tokens", SECOND_HAND),
        ),
    ),
    Definition(
        "answer_digits",
        "answers with a digit",
        "%",
        "answers that have a digit",
        (Published(_WEBEXPLORER, "44", _COUNTED_SAMPLE), Published("BrowseComp", "18", _COUNTED_BROWSECOMP)),
    ),
    Definition(
        "question_years",
        "questions with a year",
        "%",
        "questions with a number from 1000 to 2099 that stands alone",
        (Published(_WEBEXPLORER, "29", _COUNTED_SAMPLE), Published("BrowseComp", "86", _COUNTED_BROWSECOMP)),
    ),
    Definition(
        "capitals",
        "capitals in mid-sentence",
        "mean",
        "words with a capital that do not open a sentence; the pronoun I is left out",
        (Published(_WEBEXPLORER, "4.2", _COUNTED_SAMPLE), Published("BrowseComp", "4.0", _COUNTED_BROWSECOMP)),
        "Each word of a name counts.",
    ),
    Definition(
        "exposed_constants",
        "constants that are named",
        "mean",
        "names and values that the question states (exact or as a range), from its formula",
        (Published(_INFOSEEK, "2 of 2 leaf entities", "counted in the second tree of the README"),),
    ),
    Definition(
        "answer_leak",
        "answer in the question",
        "%",
        "questions that state an accepted form of the answer in whole words",
        (Published(_WEBEXPLORER, "1", _COUNTED_SAMPLE),),
        "Whole words without case and accents; the published count is verbatim.",
    ),
    Definition(
        "closed_book_failure_before",
        "wrong without tools, before the gate",
        "%",
        "candidates at the guessing gate that no guess hit",
        (
            Published(f"{_INFOSEEK}, Qwen2.5-32B", "98", SECOND_HAND),
            Published(f"{_INFOSEEK}, Qwen2.5-72B with thoughts", "about 92", SECOND_HAND),
        ),
        "Several guesses per candidate, any of which counts, by the guessers of the run.",
    ),
    Definition(
        "closed_book_failure_after",
        "wrong without tools, after all gates",
        "%",
        "guesses on accepted questions, drawn after acceptance, that are wrong",
        (),
        "By the guessers of the run; no value was published for a set after its filter.",
    ),
    Definition(
        "oracle",
        "solved from the gold pages",
        "%",
        "tries from gold pages among distractors that are right",
        (
            Published(f"{_PLUS}, gpt-4.1", "93.49", "its oracle setting"),
            Published(f"{_PLUS}, Qwen3-32B", "83.25", "its oracle setting"),
        ),
    ),
    Definition(
        "accuracy",
        "agent accuracy",
        "%",
        "attempts that are right / attempts that could be graded",
        (
            Published(f"{_WEBEXPLORER} evolved, Claude-4-Sonnet", "67.1", "paper"),
            Published(f"{_WEBEXPLORER} initial, Claude-4-Sonnet", "86.6", "paper"),
        ),
        "A question is accepted only when the solvers of its gate solve it, so attempts by the same programs are right "
        "nearly always; only other agents' accuracy says how hard the questions are.",
    ),
    Definition(
        "calls",
        "tool calls per attempt",
        "mean",
        "searches and visits of an attempt that could be graded",
        (
            Published(f"{_WEBEXPLORER} evolved, Claude-4-Sonnet", "9.9", "paper"),
            Published(f"{_WEBEXPLORER} initial, Claude-4-Sonnet", "7.9", "paper"),
            Published(f"InfoSeeker-3B on {_PLUS}", "8.24", "paper, search calls"),
        ),
        "WebExplorer's figure is in tool turns; a turn may hold several calls.",
    ),
    Definition(
        "solving_cost",
        "solving cost Ω̂",
        "mean",
        "searches and visits of an attempt that is right",
        _fort("20.6", "30.6", "47.7", "47.8", "84.7", "92.1", "141.0"),
        "The published cost is of one strong model on the open web.",
    ),
    Definition(
        "hit_time",
        "answer hit time T_hit",
        "mean",
        "of right attempts the first turn, from 1, whose results or words have the answer",
        _fort("5.7", "5.9", "15.5", "3.4", "9.3", "18.7", "46.9"),
        "Turns here, which may hold several calls; the published steps may be calls. Attempts in which neither has the "
        "answer in words are left out. Bare numbers count as `rollouts.mentions` says.",
    ),
    Definition(
        "hit_calls",
        "calls until the hit",
        "mean",
        "of right attempts the calls made up to and with the turn of the answer hit time",
        (),
        "Beside T_hit, for policies that make several calls in a turn.",
    ),
    Definition(
        "prior_shortcut",
        "prior-shortcut rate",
        "%",
        "right attempts that name the answer before a result has it",
        _fort("2.0", "5.7", "7.4", "27.2", "31.9", "11.8", "11.0"),
        "A thought and the results of one turn: the thought was first. A program knows nothing beforehand, so of programs "
        "this says only that the log is sound.",
    ),
    Definition(
        "low_width",
        "low-width clues R_low",
        "%",
        "clues that state a constant, range or class and that at most two known things of the sort asked for meet",
        (Published("open data", "55.2", "FORT"), Published("FORT", "40.2", "FORT")),
        "Counted on the facts of the snapshot, of things that surely meet the clue. The open web has more candidates, so "
        "the share falls as the corpus grows; edges between things are not counted as clues.",
    ),
    Definition(
        "low_width_branches",
        "low-width branches",
        "%",
        "clues about the answer, each with all that is said below it, that at most two known things meet",
        (),
        "Ours: how often one branch of the question is nearly enough.",
    ),
    Definition(
        "dispersion",
        "dispersion R_ev",
        "%",
        "distinct pages, taking the first page listed for each clue / clues",
        (Published("open data", "78.7", "FORT"), Published("FORT", "90.2", "FORT")),
        "Rows list up to three pages per clue; all of them together would give more than 100 %. How the published sources "
        "were chosen is not known here.",
    ),
    Definition(
        "least_dispersion",
        "fewest pages per clue",
        "%",
        "fewest pages that together state every clue / clues",
        (),
        "Ours: exact, from the certificate.",
    ),
    Definition(
        "dependency",
        "dependency cost C_dep",
        "mean",
        "lookups on the longest chain of the tree, each of which needs the one before",
        (Published("open data", "3.1", "FORT"), Published("FORT", "5.9", "FORT")),
        "One lookup per edge; the published cost counts retrieval steps, of which a lookup may need several.",
    ),
    Definition(
        "route_dependency",
        "dependency of the cheapest route",
        "mean",
        "lookups on the longest chain of a smallest set of clues that identifies the answer",
        (),
        "Ours: exact, from the certificate.",
    ),
    Definition(
        "co_coverage",
        "co-coverage",
        "%",
        "the largest share of a question's clues that one listed page states, mean over questions",
        (),
        "FORT names the risk and prints no value that this project has seen. Pages that are not listed may state more.",
    ),
    Definition(
        "one_page",
        "all clues on one page",
        "%",
        "questions all of whose clues one page states",
        (),
        "Ours: exact, from the certificate.",
    ),
    Definition(
        "evidence_pages",
        "evidence pages per question",
        "mean",
        "distinct pages listed as evidence, at most three per clue",
        (Published(_PLUS, "6.10", "its relevance judgements"),),
        "Published: documents that a model proposed and annotators confirmed for the clues.",
    ),
    Definition(
        "gold_pages",
        "gold pages per question",
        "mean",
        "listed evidence pages whose text has the answer in whole words",
        (Published(_PLUS, "2.90", "its relevance judgements"),),
    ),
    *(
        Definition(
            f"recall_{k}",
            f"BM25 on the whole question, Recall@{k}",
            "%",
            f"listed evidence pages among the best {k} pages for the question as a query, mean over questions",
            (Published(_PLUS, value, _BM25),),
            _EASIER,
        )
        for k, value in ((5, "1.2"), (100, "4.7"), (1_000, "13.7"))
    ),
    Definition(
        "ndcg_10",
        "BM25 on the whole question, nDCG@10",
        "%",
        "the same pages by rank, each worth 1 / log2(rank + 1), over the best possible",
        (Published(_PLUS, "1.6", _BM25),),
        _EASIER,
    ),
    Definition(
        "cost",
        "cost per question",
        "USD",
        "paid for models, rejects included / accepted questions",
        (Published(_INFOSEEK, "0.011", SECOND_HAND),),
    ),
    Definition(
        "training_effect",
        "training effect",
        "%",
        "accuracy of one backbone trained alike on this set and on another",
        (Published(f"{_INFOSEEK} and NQ+HotpotQA, 3B, on {_PLUS}", "16.5 and 3.0", SECOND_HAND),),
    ),
)
BY_KEY = {definition.key: definition for definition in DEFINITIONS}
