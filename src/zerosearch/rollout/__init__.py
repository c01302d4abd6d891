"""One question in, one trajectory out: `zerosearch.rollout(question, policy, engine=…)`, which `zerosearch.api.asking` explains.

As a package: the environment, its grammar and prompts, the agents it is compared with, and the loop in which text meets tokens.
"""
