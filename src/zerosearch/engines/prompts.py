"""What a simulated engine says to the model that plays it: texts with {placeholders}, or files of the user's."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from zerosearch.core.errors import one_of
from zerosearch.core.templates import file_text, fill, require_placeholders
from zerosearch.core.types import Quality, Question

# Everything constant comes first, so that servers can keep its prefix; the keyword and the query come last.
SIMULATE_WEB = """\
You stand in for {persona} that searches {domain}. For a query you write the {k} documents it would return: short passages in {language} \
of about {words} words, one a line, each beginning with "Doc 1:", "Doc 2:" and so on, and nothing else.
There are two kinds of reply. In a useful reply the documents are what a good engine finds for exactly this query: when the query \
asks for it, they hold what leads to the answer of the user's question. In a noisy reply the documents are about the query's subject or \
a similar one, but hold nothing that answers it. A query that asks for something else gets documents about something else.
The question the user is working on and its answer are given so that you know the facts. Never mention that they were given.

Example
Question: Who wrote the novel that the film Blade Runner is based on?
Answer: Philip K. Dick
Query: Blade Runner based on novel
Kind of reply: useful
Documents:
Doc 1: Blade Runner is a 1982 science fiction film directed by Ridley Scott, adapted from the 1968 novel \
Do Androids Dream of Electric Sheep? by Philip K. Dick.
Doc 2: Do Androids Dream of Electric Sheep? follows a bounty hunter in a ruined San Francisco; its author, \
Philip K. Dick, died shortly before the film came out.

Question: {question}
Answer: {golden_answers}
Query: {query}
Kind of reply: {quality}
Documents:
"""
# For a tuned model, which needs no telling how: no worked example, a third of the tokens.
SIMULATE_TUNED = """\
You stand in for {persona} that searches {domain}: write the {k} documents it returns for a query, in {language}, \
about {words} words each. A useful reply holds what the query asks for, a noisy one only what is near it.

Question: {question}
Answer: {golden_answers}
Query: {query}
Kind of reply: {quality}
Documents:
"""
SIMULATE_MICRO = "Question: {question} Gold: {golden_answers} Query: {query} {quality} Docs:"
SIMULATOR_PROMPTS: dict[str, str] = {"web": SIMULATE_WEB, "tuned": SIMULATE_TUNED, "micro": SIMULATE_MICRO}


@dataclass(frozen=True, slots=True)
class Imitated:
    """The engine that a simulator stands in for, in the words that go into its template: "{persona} that searches {domain}", …"""

    persona: str = "a search engine"
    domain: str = "the web"
    language: str = "English"
    words: int = 30  # of a document


WEB = Imitated()


def simulator_text(template: str, question: Question, query: str, quality: Quality, k: int, imitated: Imitated = WEB) -> str:
    """The simulator's prompt for one search, the same when it is tuned and when it is asked."""
    values = {
        "question": question.text,
        "golden_answers": "; ".join(question.golden_answers),
        "query": " ".join(query.split()),
        "quality": quality.value,
        "k": k,
        **asdict(imitated),
    }
    return fill(template, values)


def simulator_prompt(name: str) -> str:
    """A built-in simulator template by name, or the text of a file; BadConfig when it lacks {query} or {quality}."""
    if (text := file_text(name)) is None:
        return SIMULATOR_PROMPTS[one_of("simulator template", name, SIMULATOR_PROMPTS)]
    require_placeholders(name, text, ("query", "quality"))
    return text
