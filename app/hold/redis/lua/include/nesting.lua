-- The arithmetic of nested classes, as in app/inventory/model.py: open(k) is the least, over the
-- classes j from the first to k, of limit(j) minus what is taken from j down; never below 0.

local function open_seats(limits, sold, held)
  local open, taken = {}, 0
  for j = #limits, 1, -1 do
    taken = taken + sold[j] + (held and held[j] or 0)
    open[j] = limits[j] - taken
  end
  for j = 2, #limits do
    open[j] = math.min(open[j], open[j - 1])
  end
  for j = 1, #limits do
    open[j] = math.max(open[j], 0)
  end
  return open
end
