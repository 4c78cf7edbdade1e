# %% [markdown]
# # new_agent
#
# To come.
