"""The same run on verl: Ray, FSDP or Megatron, vLLM or SGLang. The only code that imports verl; only `loop`, `sampler`, `estimators` do.

settings     a recipe → overrides of `python -m verl.trainer.main_ppo`
files        questions → parquet, and the YAML that names the loop
loop         verl's servers as a Policy, `rollout.py` as the agent loop: one question in, one masked sample out
sampler      what verl's trainer draws its batches from: it sees every rollout, writes the run directory, stops when too many failed
estimators   our advantages under verl's names for them
launch       what must be there before it starts; start it, go on, merge a checkpoint
"""
