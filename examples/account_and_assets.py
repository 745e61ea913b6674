"""What I have, whether the market is open, and what I may trade.  python examples/account_and_assets.py [SYMBOL]"""

from __future__ import annotations

import sys
from datetime import timedelta

import connect
from alpaca.trading.enums import AssetClass, AssetStatus
from alpaca.trading.requests import GetAssetsRequest, GetCalendarRequest, GetPortfolioHistoryRequest

symbol = sys.argv[1] if len(sys.argv) > 1 else "AAPL"
trading = connect.trading()

account = trading.get_account()
print(f"account {account.account_number}: {account.status.value}")
print(f"equity ${account.equity}, cash ${account.cash}, buying power ${account.buying_power}")
print(f"today {float(account.equity) - float(account.last_equity):+.2f}")
if account.trading_blocked:
    print("this account may not trade")

clock = trading.get_clock()
print(f"it is {clock.timestamp:%Y-%m-%d %H:%M}, the market is {'open' if clock.is_open else 'closed'}; next open {clock.next_open}")

today = clock.timestamp.date()
for day in trading.get_calendar(GetCalendarRequest(start=today, end=today + timedelta(days=7))):
    print(f"session {day.date} from {day.open:%H:%M} to {day.close:%H:%M}")

asset = trading.get_asset(symbol)
print(f"{asset.symbol}: tradable {asset.tradable}, shortable {asset.shortable}, fractionable {asset.fractionable}")
stocks = trading.get_all_assets(GetAssetsRequest(status=AssetStatus.ACTIVE, asset_class=AssetClass.US_EQUITY))
print(f"{len(stocks)} stocks, {sum(stock.tradable for stock in stocks)} of them tradable")

for position in trading.get_all_positions():
    print(f"holding {position.qty} {position.symbol} at {position.avg_entry_price}, profit {position.unrealized_pl}")

history = trading.get_portfolio_history(GetPortfolioHistoryRequest(period="1M", timeframe="1D"))
for at, equity in zip(history.timestamp, history.equity, strict=True):
    print(f"{at}: {equity}")
