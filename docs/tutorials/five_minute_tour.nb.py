# %% [markdown]
# # five_minute_tour
#
# To come.
