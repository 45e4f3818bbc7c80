-- Take all charges or none. KEYS: one counter per charge.
-- ARGV: the seat's name, slots of a window, then kind, limit, amount and span of each charge.
-- Returns: index of the refused charge (-1: none), seconds to wait, the server's time, then what is left of each.
local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1e6
local seat, slots = ARGV[1], tonumber(ARGV[2])
local left, windows = {}, {}

local function kept(key, span)
  local first = math.floor(now * slots / span) - slots
  local entries, total, gone = {}, 0, {}
  local flat = redis.call('HGETALL', key)
  for i = 1, #flat, 2 do
    local slot, amount = tonumber(flat[i]), tonumber(flat[i + 1])
    if slot < first then
      gone[#gone + 1] = flat[i]
    else
      entries[#entries + 1] = {slot, amount}
      total = total + amount
    end
  end
  return entries, total, gone
end

local function wait(entries, excess, span)
  table.sort(entries, function(a, b) return a[1] < b[1] end)
  local slot = 0
  for _, entry in ipairs(entries) do
    slot, excess = entry[1], excess - entry[2]
    if excess <= 0 then break end
  end
  return (slot + slots + 1) * span / slots - now
end

for i, key in ipairs(KEYS) do
  local kind = ARGV[4 * i - 1]
  local limit, amount, span = tonumber(ARGV[4 * i]), tonumber(ARGV[4 * i + 1]), tonumber(ARGV[4 * i + 2])
  local entries, total
  if kind == 'window' then
    entries, total, windows[i] = kept(key, span)
  elseif kind == 'seats' then
    redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
    total = redis.call('ZCARD', key)
  else
    total = tonumber(redis.call('GET', key) or '0')
  end
  local room = limit - total
  if amount > room then
    local seconds = 0
    if kind == 'window' and amount <= limit then seconds = wait(entries, amount - room, span) end
    return {i - 1, tostring(seconds), string.format('%.6f', now), math.max(0, room)}
  end
  left[i] = room - amount
end

for i, key in ipairs(KEYS) do
  local kind, amount, span = ARGV[4 * i - 1], ARGV[4 * i + 1], tonumber(ARGV[4 * i + 2])
  if kind == 'window' then
    if #windows[i] > 0 then redis.call('HDEL', key, unpack(windows[i])) end
    redis.call('HINCRBY', key, string.format('%d', math.floor(now * slots / span)), amount)
    redis.call('EXPIRE', key, math.ceil(span * 2))
  elseif kind == 'seats' then
    redis.call('ZADD', key, now + span, seat)
    redis.call('EXPIRE', key, math.ceil(span))
  else
    redis.call('INCRBY', key, amount)
    redis.call('EXPIRE', key, math.ceil(span))
  end
end
return {-1, '0', string.format('%.6f', now), unpack(left)}
