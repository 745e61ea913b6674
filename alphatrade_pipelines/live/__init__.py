"""The live shell: one loop around the core.

``launch`` puts a session together (``trade``, ``trade_lockstep``); ``session`` is its life, ``shell`` the core's loop, ``inbox`` what can
wake it; ``gateway``, ``transport`` and ``wire`` reach the broker, ``streams`` listen to it; ``bars`` and ``brain`` turn bars into signals;
``lockstep`` and ``sim`` run the local venue; ``lock``, ``control``, ``health``, ``status`` and ``telemetry`` are for people and probes.
Import the module you need: this package pulls in nothing by itself.
"""
