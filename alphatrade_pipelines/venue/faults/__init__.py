"""What goes wrong on purpose: any of F1 to F30, by time, by count, by symbol, by endpoint, with a seed.

Start with ``catalogue``: every fault, what it does and what it takes. Then, from the file to the strike:

    scenario         which fault strikes when, read from TOML (``scenarios/``) or from the admin API
    armed            one fault that lies in wait: when it strikes, how often, when it is over
    injector         what the server asks at its hook points: does a fault strike here, now?
    middleware       the hook point of every request

What a strike does
    wire_faults      to a request on its way in, to the answer on its way out
    stream_faults    to the messages of the streams
    exchange_faults  at the exchange: it pulls levers and turns switches
    tape_faults      to the days to come: splits nobody has seen, sessions that close early

    listing          ``alphatrade venue faults``
"""
