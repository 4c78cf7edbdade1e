# %% [markdown]
# # own_data
#
# To come.
