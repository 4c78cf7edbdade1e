"""The explorer: one simulator in the browser, to ask what would happen if.

What is shown is a value, :class:`~persim_gym.explorer.view.View`, that a URL holds. A
:class:`~persim_gym.explorer.scene.Scene` computes the courses of a view, and nothing in it knows of
a browser: only ``page.py`` and ``server.py`` import NiceGUI.
"""
