-- Correct what was reserved, once, however often and in whatever order it is sent.
-- KEYS: one counter per charge, then since when the store has its data, and what this process has had settled.
-- ARGV: the holder's id, slots of a window, the time of the reservation, then kind, amount and seconds of each charge;
-- last, this settlement's number, the lowest number that may be sent again, and for how many seconds to keep the last key.
-- Returns: 1, or 0 if it was carried out before.
local holder, slots, at = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local since, settled = KEYS[#KEYS - 1], KEYS[#KEYS]
local number, lowest, keep = tonumber(ARGV[#ARGV - 2]), tonumber(ARGV[#ARGV - 1]), ARGV[#ARGV]

-- A sorted set of numbers, of which those below `lowest` need not be kept one by one.
local known = tonumber(redis.call('ZSCORE', settled, 'lowest') or '0')
if number < known or redis.call('ZADD', settled, number, number) == 0 then return 0 end
if lowest > known then
  redis.call('ZREMRANGEBYSCORE', settled, '-inf', '(' .. lowest)
  redis.call('ZADD', settled, lowest, 'lowest')
end
redis.call('EXPIRE', settled, keep)
redis.call('EXPIRE', since, keep)

-- Counters that were begun after the reservation, because the store lost its data, do not have it.
local begun = tonumber(redis.call('GET', since) or '')
local counted = begun and begun <= at
for i = 1, #KEYS - 2 do
  local key, kind, amount, seconds = KEYS[i], ARGV[3 * i + 1], ARGV[3 * i + 2], tonumber(ARGV[3 * i + 3])
  if kind == 'concurrency' then
    redis.call('ZREM', key, holder)
  elseif not counted then
    -- nothing to correct
  elseif kind == 'window' then
    local slot = string.format('%d', math.floor(at * slots / seconds))
    if redis.call('HEXISTS', key, slot) == 1 then redis.call('HINCRBY', key, slot, amount) end
  elseif redis.call('EXISTS', key) == 1 then
    redis.call('INCRBY', key, amount)
  end
end
return 1
