"""A population of configs trained at once: weights stacked along a leading axis.

Matrix products are batched over the members, and each member has a learning rate, momentum,
dropout and clip value of its own; what they share is the batch size, and with it the text of
each step. One idea a module: `recipe` says what is recorded, `design` which configs, `plan` in
which order, `stream` which tokens; `weights` what is trained, `body`, `head` and `update` a step
of it, `operations` how a device does that, `graphs` its replay, `kernels` what a GPU does in one
pass, `trainer` an epoch, `cost` what it could take at best; `rows` what is written, `collector`
the run of it all.
"""
