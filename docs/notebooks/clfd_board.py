# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Continual learning on a board: CLFD round experience replay
#
# Five tasks of two digits each, a memory of fifty images' bytes. What does learning on wavelet coefficients save, and what does it cost
# in accuracy?

# %%
import toolkit
from toolkit import api

results = {
    name: api.learn("small_cnn", "digits", split=5, buffer=50, lr=0.05, epochs=2, **how)
    for name, how in {"ER": {"method": "er"}, "CLFD-ER": {"method": "clfd", "host": "er"}}.items()
}
shown = ["class_il", "task_il", "forgetting", "end_s", "energy_total_j"]
{name: result.summary.query("metric in @shown").set_index("metric")["mean"].round(4).to_dict() for name, result in results.items()}

# %% [markdown]
# The scenario that stands for the call, in YAML: what a command line would run.

# %%
print(results["CLFD-ER"].scenario)

# %% [markdown]
# The network that came out is an ordinary one.

# %%
network = results["CLFD-ER"].network()
sum(weights.numel() for weights in network.parameters())

# %% [markdown]
# And on other boards, before anything is trained there:

# %%
for board in ("raspberry_pi_4", "jetson_nano", "jetson_orin_nx"):
    priced = toolkit.Scenario.build({**results["ER"].scenario.dump(), "fabric": {"type": "cluster", "workers": 1, "device": board}})
    said = priced.program.estimate(priced.fabric)
    print(f"{board}: {said.time_s:.2f} s, {said.energy_j:.1f} J")
