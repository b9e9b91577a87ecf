# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # The sea trial explored
#
# What the command line leaves as a folder is here a `Result`: data frames and figures. `quick=True` takes small settings that show how
# it works and carry no result; leave it out for the trial itself (a minute and a half).

# %%
import toolkit

result = toolkit.run("../../scenarios/sea_trial.yaml", quick=True)
result.summary.query("metric == 'delivery_ratio'")

# %% [markdown]
# Every run has one value of each metric, so anything that pandas can do can be asked. All arms of a seed met the same sea: compare
# within seeds.

# %%
delivery = result.report.query("metric == 'delivery_ratio'").pivot(index="seed", columns="arm", values="value")
delivery.sub(delivery["DBR"], axis=0)

# %% [markdown]
# The ledger has a row for whatever cost anything. Where did the joules go?

# %%
ledger = result.ledger
joules = ledger[ledger["node"] >= 0].groupby(["arm", "kind"])["energy_j"].sum().unstack()
joules.div(joules.sum(axis=1), axis=0).round(3)

# %% [markdown]
# And how did packets end?

# %%
packets = ledger[ledger["kind"] == "send"]
packets.groupby(["arm", "outcome"]).size().unstack(fill_value=0)

# %% [markdown]
# A result shows itself: tables and figures. `result.plot()` gives the figures by name, as matplotlib's.

# %%
result
