# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # gs-SGD, three rivals, and the same training over another network
#
# Eight boards train together; what they tell each other is compressed or not. A finished run can be priced on other machines and links
# without training again, since what each program asked for was written down.

# %%
import tempfile
from pathlib import Path

import toolkit
from toolkit.recost import main as recost
from toolkit.scenario import Scenario

folder = Path(tempfile.mkdtemp())
arms = ["gs-SGD", "dense", "Top-k", "local-SGD"]
whole = Scenario.load("../../scenarios/gs_sgd.yaml", quick=True).dump()
scenario = Scenario.build({**whole, "compare": {arm: whole["compare"][arm] for arm in arms}})
result = toolkit.run(scenario, out=folder / "boards")
shown = ["end_s", "energy_total_j", "bytes_total", "final_accuracy"]
result.summary.query("metric in @shown").pivot(index="arm", columns="metric", values="mean").loc[arms]

# %% [markdown]
# The same training on a wireless link.

# %%
recost([str(folder / "boards"), "--set", "fabric.topology.link=wifi5", "--out", str(folder / "slow"), "--quiet"])
slow = toolkit.Result.load(folder / "slow")
both = {"gigabit": result, "Wi-Fi": slow}
{name: one.summary.query("metric == 'end_s'").set_index("arm")["mean"].round(3).to_dict() for name, one in both.items()}

# %% [markdown]
# What a step is made of, by phase: computing of the first worker, seconds.

# %%
ledger = result.ledger
first = ledger[(ledger["kind"] == "compute") & (ledger["node"] == 0) & (ledger["seed"] == 1)]
first.groupby(["arm", "phase"])["dur_s"].sum().unstack().loc[arms].round(4)
