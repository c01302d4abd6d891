"""Every word the system says to a model. Each template is a text with {placeholders}; any of them may be a file of the user's.

A template with a task takes its name in a recipe (`prompt = "search"`) or a path (`prompt = "my_prompt.txt"`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from zerosearch.core.errors import BadConfig, BadFile, one_of
from zerosearch.core.types import Quality, Question


def fill(template: str, values: Mapping[str, object]) -> str:
    """Replace each {name} by its value, once: braces inside a value are left alone, unknown names too."""
    return re.sub(r"\{(\w+)\}", lambda m: str(values[m[1]]) if m[1] in values else m[0], template)


@dataclass(frozen=True, slots=True)
class PolicyPrompt:
    """What the policy reads: the task with the {question}, and the line that answers a malformed turn.

    `distil` asks it to boil documents down, for the one agent that does; `rag` finds its {documents} in the task.
    """

    task: str
    malformed: str = ""  # an agent of one turn has no use for it
    distil: str = ""


SEARCH = PolicyPrompt(
    task="""\
Answer the question below. Work in turns.
Begin every turn by reasoning between <think> and </think>. Then do exactly one of two things:
- to look something up, write a search query between <search> and </search>; what the search engine finds is shown to you \
between <information> and </information>, and it may be wrong or beside the point;
- to finish, write the answer alone, in a few words, between <answer> and </answer>.
You may search several times, a query at a time.

Question: {question}
""",
    malformed="\n\nThat turn was neither a search nor an answer. Put a query in search tags, or the final answer in answer tags.\n\n",
)
MICRO = PolicyPrompt(task="Question: {question}", malformed="please search or answer.")

# The baselines of evaluation/agents. Each asks for the answer in the same tags, so that all are scored alike.
DIRECT = PolicyPrompt(
    task="""\
Answer the question below at once, from what you know. Write nothing but the answer, in a few words, between <answer> and </answer>.

Question: {question}
""",
)
COT = PolicyPrompt(
    task="""\
Answer the question below from what you know. Work it out step by step first: name the facts you need, one a line, and put them together. \
Then write the answer alone, in a few words, between <answer> and </answer>.

Question: {question}
""",
)
R1 = PolicyPrompt(
    task="""\
Answer the question below. First reason between <think> and </think>, for as long as it takes, and check yourself. \
Then write the answer alone, in a few words, between <answer> and </answer>.

Question: {question}
""",
)
RAG = PolicyPrompt(
    task="""\
Answer the question below. A search engine found these documents for it; some may be wrong or beside the point, and where they \
do not help, what you know counts.

{documents}

Think as briefly as you can, then write the answer alone, in a few words, between <answer> and </answer>.

Question: {question}
""",
)
RA_AGENT = PolicyPrompt(
    task="""\
Answer the question below. You decide whether you need to look anything up, what, and how much of it you read. In every turn reason \
briefly, then do exactly one of three things:
- write a search query between <search> and </search>; you are shown a numbered list of what was found, only the beginning of each document;
- write the numbers of the documents you want to read in full, for instance 1, 3, between <read> and </read>;
- as soon as you are sure enough, write the answer alone, in a few words, between <answer> and </answer>.

Question: {question}
""",
    malformed="\n\nThat turn did nothing. Put a query in search tags, numbers of the list in read tags, or the answer in answer tags.\n\n",
)
SEARCH_O1 = PolicyPrompt(
    task="""\
Answer the question below by reasoning step by step. Whenever your reasoning meets a fact you are not sure of, write a search query \
between <search> and </search> right there; somebody reads the documents for you, and what matters in them is put between <information> \
and </information>. Then reason on from it. When you are done, write the answer alone, in a few words, between <answer> and </answer>.

Question: {question}
""",
    malformed=SEARCH.malformed,
    distil="""\
Somebody reasoning about a question stopped to search. Read the documents that were found and write down only what helps the next step: \
the facts that answer the query, in two or three sentences, and nothing you did not read. If the documents hold nothing of use, say so.

Question: {question}
The reasoning so far: {reasoning}
The query: {query}
Documents:
{documents}

What helps:
""",
)
POLICY_PROMPTS: dict[str, PolicyPrompt] = {
    "search": SEARCH,
    "micro": MICRO,
    "direct": DIRECT,
    "cot": COT,
    "rag": RAG,
    "ra-agent": RA_AGENT,
    "search-o1": SEARCH_O1,
    "r1": R1,
}

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
        "persona": imitated.persona,
        "domain": imitated.domain,
        "language": imitated.language,
        "words": imitated.words,
    }
    return fill(template, values)


# The judge of search results (simulator/judge.py): constant first, what it judges last.
JUDGE = """\
You judge what a search engine returned. Somebody works on a question, step by step, and sent one query to the engine. \
Decide whether the documents, taken together, bring that person further:
- "useful": they state the answer, or a fact that the question cannot be answered without;
- "noisy": they do neither, however close to the subject they are.
Judge what is written, not what you know. Reply with one JSON object and nothing else, the reason first:
{"reason": "one short sentence that names the fact, or what is missing", "verdict": "useful" or "noisy"}

Question: {question}
Accepted answers: {golden_answers}
Query: {query}
Documents:
{documents}

JSON:
"""


def judge_prompt(name: str) -> str:
    """The built-in judge's prompt ("judge"), or the text of a file; BadConfig when it lacks {question} or {documents}."""
    if (text := _file_text(name)) is None:
        one_of("judge prompt", name, ("judge",))
        return JUDGE
    _require(name, text, ("question", "documents"))
    return text


def policy_prompt(name: str, agent_prompt: PolicyPrompt = SEARCH) -> PolicyPrompt:
    """A built-in prompt by name, or the task in a text file; BadConfig when it lacks what `agent_prompt`'s task holds.

    What a file does not say (the line for a malformed turn, …) is `agent_prompt`'s.
    """
    if (text := _file_text(name)) is None:
        return POLICY_PROMPTS[one_of("prompt", name, POLICY_PROMPTS)]
    _require(name, text, [p for p in ("question", "documents") if f"{{{p}}}" in agent_prompt.task])
    return replace(agent_prompt, task=text)


def distil_prompt(name: str) -> str:
    """The text of a file for the step that distils documents; BadConfig when it lacks {query} or {documents}."""
    if (text := _file_text(name)) is None:
        raise BadConfig(f"the distilling prompt '{name}' is no file; give a text file with {{query}} and {{documents}}.")
    _require(name, text, ("query", "documents"))
    return text


def simulator_prompt(name: str) -> str:
    """A built-in simulator template by name, or the text of a file; BadConfig when it lacks {query} or {quality}."""
    if (text := _file_text(name)) is None:
        return SIMULATOR_PROMPTS[one_of("simulator template", name, SIMULATOR_PROMPTS)]
    _require(name, text, ("query", "quality"))
    return text


def _file_text(name: str) -> str | None:
    if "/" not in name and "." not in name:
        return None
    try:
        return Path(name).read_text(encoding="utf-8")
    except OSError as error:
        raise BadFile(f"cannot read the prompt file '{name}' ({error.strerror}); give a readable text file or a built-in name.") from error
    except UnicodeDecodeError as error:
        raise BadFile(
            f"the prompt file '{name}' is no UTF-8 text (byte {error.start}); give a readable text file or a built-in name."
        ) from error


def _require(name: str, text: str, placeholders: Sequence[str]) -> None:
    for placeholder in placeholders:
        if f"{{{placeholder}}}" not in text:
            raise BadConfig(f"the prompt file '{name}' lacks {{{placeholder}}}; put it where the {placeholder} belongs.")
