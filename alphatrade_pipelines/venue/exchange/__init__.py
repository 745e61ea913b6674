"""The exchange itself: orders, matching, fills, account, sessions. Pure and deterministic; the backtest calls it in process.

Start with ``exchange``: it owns the order of events and hands everything on. Then, from the words to the deeds:

The words
    orders          what is asked, what is reported, and the mutable order in the book
    errors          refusals in Alpaca's codes and words
    config          how an exchange is set up, and what one step of it looks like
    fidelity        every uncertain rule of Alpaca as a named switch
    ids             UUIDs and ULIDs made from counters

Time and prices
    tape            bars cut into the points at which prices are seen
    path            the way of the price inside a bar
    hours           pre-market, regular session, after hours, auctions
    schedule        what is due later: pending cancels, resumptions, the ageing of orders
    quotes          what is known of each symbol now, and how it moves along the tape
    session_events  what happens to the orders before the open, at the open, at the close

An order's way
    rules           what is wrong with an order whatever the market does
    admission       what is wrong with it now: hours, restrictions, buying power, shares
    restrictions    flags of the assets, restrictions of the account, the day-trade count
    order_entry     making, replacing, valuing and listing orders
    desk            submitting, cancelling, replacing
    book            the orders, their groups, and what an execution does to them
    claims          what open orders hold: buying power, shares, the right to trade in one direction

Executions
    matching        the orders of the book against one stretch of the path
    screen          which orders a stretch can touch at all
    fills           the kernels: what fills, at what price, how much
    profiles        how kindly the market treats an order; fees

The account
    account         cash, positions, buying power, to the cent
    margin          what positions require, and what follows a deficit
    views           account and positions as they look from outside
    past            the exchange as it was a while ago, for views that lag

For those who judge and disturb
    ledger          ground truth: what the exchange itself saw
    levers          halts, restrictions, borrow, rejections, strangers: pulled by faults and tests
"""
