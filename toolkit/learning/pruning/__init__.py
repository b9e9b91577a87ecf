"""Structured pruning in plain torch: which channels belong together, masks, physical rebuild, saliency, cheap evaluation.

    groups = find_groups(model, (1, 28, 28))        # what can be removed, and every slice of every tensor that goes with it
    mask = np.ones(groups.units, bool)              # one bit per filter or hidden unit
    small = rebuild(model, groups, mask)            # a plain dense network, equal to the masked one

No simulation is imported here. The search for good masks is `toolkit.learning.genetic`; the processes are `toolkit.methods.pruning`.
"""
