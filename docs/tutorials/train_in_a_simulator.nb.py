# %% [markdown]
# # train_in_a_simulator
#
# To come.
