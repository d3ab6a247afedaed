"""The studio: a local web page on which a portrait is made to talk and feel.

``launch.py`` is the verb, ``server.py`` the routes, ``session.py`` what is loaded, ``jobs.py`` the queue of renders,
``lanes.py`` a direction as the timeline sees it, ``page/`` what the browser gets. The flow is in the pipelines.
"""
