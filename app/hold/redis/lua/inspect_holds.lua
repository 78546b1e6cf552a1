-- Reads the state of each hold, and whether the index of expiry or of the resolver has it. Writes only
-- the clock, if one has expired, as read_holds.lua does.
-- KEYS[1] epoch: the epoch check
-- KEYS[2] clock
-- KEYS[3] pinned: pinned holds, by the time they were pinned
-- KEYS[4..] memo of each hold
-- ARGV[1] epoch
-- ARGV[2] prefix of this epoch's keys, for the holds' own flights
-- ARGV[3..] hold_id of each hold
-- RETURNS EPOCH | INSPECTED, then for each hold: 'state indexed lines', indexed 0 or 1; or UNKNOWN
--@include frame
--@include holds

if not is_current() then
  return { 'EPOCH' }
end
local now, prefix, answer = read_clock(KEYS[2]), ARGV[2], { 'INSPECTED' }
for i = 4, #KEYS do
  local id = ARGV[i - 1]
  local memo = redis.call('HMGET', KEYS[i], 'state', 'expires_at', 'lines')
  local state, indexed = memo[1], true
  if state == 'PINNED' then
    indexed = redis.call('ZSCORE', KEYS[3], id)
  elseif state == 'HELD' then
    for _, line in ipairs(lines_of(memo[3] or '')) do
      indexed = indexed and redis.call('ZSCORE', prefix .. 'x:' .. line.flight, id)
    end
    if indexed and tonumber(memo[2]) <= now then
      state = 'EXPIRED'
      redis.call('SET', KEYS[2], whole(now))
    end
  end
  answer[#answer + 1] = state
      and table.concat({ state, indexed and '1' or '0', memo[3] or '' }, ' ')
    or 'UNKNOWN'
end
return answer
