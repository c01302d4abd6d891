"""What the policy reads. Each prompt is a text with {placeholders}; any of them may be a file of the user's.

A template with a task takes its name in a recipe (`prompt = "search"`) or a path (`prompt = "my_prompt.txt"`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from zerosearch.core.errors import BadConfig, one_of
from zerosearch.core.templates import file_text, require_placeholders


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


def policy_prompt(name: str, agent_prompt: PolicyPrompt = SEARCH) -> PolicyPrompt:
    """A built-in prompt by name, or the task in a text file; BadConfig when it lacks what `agent_prompt`'s task holds.

    What a file does not say (the line for a malformed turn, …) is `agent_prompt`'s.
    """
    if (text := file_text(name)) is None:
        return POLICY_PROMPTS[one_of("prompt", name, POLICY_PROMPTS)]
    require_placeholders(name, text, [p for p in ("question", "documents") if f"{{{p}}}" in agent_prompt.task])
    return replace(agent_prompt, task=text)


def distil_prompt(name: str) -> str:
    """The text of a file for the step that distils documents; BadConfig when it lacks {query} or {documents}."""
    if (text := file_text(name)) is None:
        raise BadConfig(f"the distilling prompt '{name}' is not a file; give a text file with {{query}} and {{documents}}.")
    require_placeholders(name, text, ("query", "documents"))
    return text
