"""The textbook's formulas of belief nets and of bounds as checks: sections 8 and 9, and what of 3 and 10 is of q."""

# Section 8: Frean's and Murphy's slides.
BELIEF_NET = """model SBN(D = 3, F1 = 2, F2 = 4, F3 = 1)
visible v  : binary[D]  bias b
hidden  h1 : binary[F1] bias a1
hidden  h2 : binary[F2] bias a2
hidden  h3 : binary[F3] bias a3
h1 -> v  : W1
h2 -> h1 : W2
h3 -> h2 : W3
check "a unit given its parents": p(v[i] = 1 | h1) == sigmoid(b[i] + sum(W1[i,j]*h1[j] for j))
check "(21)": p(h1[j] = 1 | h2) == sigmoid(a1[j] + sum(W2[j,k]*h2[k] for k))
check "a unit given more layers above": p(v[i] = 1 | h1, h2, h3) == sigmoid(b[i] + sum(W1[i,j]*h1[j] for j))
check "printed without a bias": p(v[i] = 1 | h1) == sigmoid(sum(W1[i,j]*h1[j] for j)) where b = 0
check "the joint of three hidden layers": p(v, h1, h2, h3)
  == prod(sigmoid(b[i] + sum(W1[i,j]*h1[j] for j))^v[i]*(1 - sigmoid(b[i] + sum(W1[i,j]*h1[j] for j)))^(1 - v[i]) for i)
  *prod(sigmoid((2*h1[j] - 1)*(a1[j] + sum(W2[j,k]*h2[k] for k))) for j)
  *prod(sigmoid((2*h2[k] - 1)*(a2[k] + sum(W3[k,l]*h3[l] for l))) for k)
  *prod(sigmoid(a3[l])^h3[l]*(1 - sigmoid(a3[l]))^(1 - h3[l]) for l)
check "the top prior": p(h3[l] = 1) == sigmoid(a3[l])
check "the upper layers are a belief net too": p(h2, h3)
  == prod(sigmoid((2*h2[k] - 1)*(a2[k] + sum(W3[k,l]*h3[l] for l))) for k)
  *prod(sigmoid((2*h3[l] - 1)*a3[l]) for l)
check "as an energy": log_joint
  == sum(v[i]*(b[i] + sum(W1[i,j]*h1[j] for j)) - softplus(b[i] + sum(W1[i,j]*h1[j] for j)) for i)
  + sum(h1[j]*(a1[j] + sum(W2[j,k]*h2[k] for k)) - softplus(a1[j] + sum(W2[j,k]*h2[k] for k)) for j)
  + sum(h2[k]*(a2[k] + sum(W3[k,l]*h3[l] for l)) - softplus(a2[k] + sum(W3[k,l]*h3[l] for l)) for k)
  + sum(h3[l]*a3[l] - softplus(a3[l]) for l)
check "Z of the top alone": Z == prod(1 + exp(a3[l]) for l)
check "the delta rule": gradient(W1[i,j]) == data((v[i] - sigmoid(b[i] + sum(W1[i,m]*h1[m] for m)))*h1[j])
check "the delta rule, second layer": gradient(W2[j,k])
  == data((h1[j] - sigmoid(a1[j] + sum(W2[j,m]*h2[m] for m)))*h2[k])
check "the delta rule, third layer": gradient(W3[k,l])
  == data((h2[k] - sigmoid(a2[k] + sum(W3[k,m]*h3[m] for m)))*h3[l])
check "the delta rule, b": gradient(b[i]) == data(v[i] - sigmoid(b[i] + sum(W1[i,m]*h1[m] for m)))
check "the delta rule, a1": gradient(a1[j]) == data(h1[j] - sigmoid(a1[j] + sum(W2[j,k]*h2[k] for k)))
check "the delta rule, a3": gradient(a3[l]) == data(h3[l] - sigmoid(a3[l]))
check "the slope of the log-joint": d(log_joint, W1[i,j]) == (v[i] - sigmoid(b[i] + sum(W1[i,m]*h1[m] for m)))*h1[j]
check "explaining away": p(h1[j] = 1 | rest) == sigmoid(a1[j] + sum(W2[j,k]*h2[k] for k) + sum(v[i]*W1[i,j] for i)
  - sum(softplus(b[i] + W1[i,j] + sum(W1[i,m]*h1[m] for m if m != j)) - softplus(b[i]
  + sum(W1[i,m]*h1[m] for m if m != j)) for i))
check "the posterior is not that of a restricted machine" refuted: p(h1[j] = 1 | rest)
  == sigmoid(a1[j] + sum(W2[j,k]*h2[k] for k) + sum(v[i]*W1[i,j] for i))
check "E-32, h_j for h_1j" refuted: p(v, h1, h2, h3)
  == prod(sigmoid((2*v[i] - 1)*(b[i] + sum(W1[i,j]*h1[j] for j))) for i)
  *prod(sigmoid((2*h1[j] - 1)*(a1[j] + sum(W2[j,k]*h2[k] for k))) for j)
  *prod(sigmoid((2*h2[k] - 1)*(a2[k] + sum(W3[k,l]*h2[k] for l))) for k)
  *prod(sigmoid((2*h3[l] - 1)*a3[l]) for l)
check "a negative phase" refuted: gradient(W1[i,j])
  == data((v[i] - sigmoid(b[i] + sum(W1[i,m]*h1[m] for m)))*h1[j]) - model(v[i]*h1[j])
check "Z is not 1 of the top's terms alone" refuted: Z == 1
check "the mean-field bound": bound == expect(log_joint under q) + entropy(q)
check "the mean-field bound, what closes of it": bound == sum(v[i]*(b[i] + sum(W1[i,j]*h1[j] for j)) for i)
  - expect(sum(softplus(b[i] + sum(W1[i,j]*h1[j] for j)) for i) under q)
  + sum(h1[j]*(a1[j] + sum(W2[j,k]*h2[k] for k)) for j) - expect(sum(softplus(a1[j]
  + sum(W2[j,k]*h2[k] for k)) for j) under q)
  + sum(h2[k]*(a2[k] + sum(W3[k,l]*h3[l] for l)) for k) - expect(sum(softplus(a2[k]
  + sum(W3[k,l]*h3[l] for l)) for k) under q)
  + sum(h3[l]*a3[l] - softplus(a3[l]) for l) + entropy(q)
"""

# Section 9 with recognition edges, two hidden layers: Salakhutdinov (2015), section 3.
BELIEF = """model DBN(D = 3, F1 = 2, F2 = 4)
visible v  : binary[D]  bias b
hidden  h1 : binary[F1] bias a1
hidden  h2 : binary[F2] bias a2
h1 -> v  : W1
h1 -- h2 : W2
v  ~> h1 : R1
check "(20)": p(v, h1, h2) == prod(sigmoid((2*v[i] - 1)*(b[i] + sum(W1[i,j]*h1[j] for j))) for i)
  *exp(sum(W2[j,k]*h1[j]*h2[k] for j, k) + sum(a1[j]*h1[j] for j) + sum(a2[k]*h2[k] for k))/Z
check "(21)": p(v[i] = 1 | h1) == sigmoid(b[i] + sum(W1[i,j]*h1[j] for j))
check "(21), given more": p(v[i] = 1 | h1, h2) == sigmoid(b[i] + sum(W1[i,j]*h1[j] for j))
check "(22)": p(h1, h2) == exp(sum(W2[j,k]*h1[j]*h2[k] for j, k) + sum(a1[j]*h1[j] for j) + sum(a2[k]*h2[k] for k))/Z
check "(22), without biases": p(h1, h2) == exp(sum(W2[j,k]*h1[j]*h2[k] for j, k))/Z where a1 = 0, a2 = 0
check "(22), Z": Z
  == sum(sum(exp(sum(W2[j,k]*h1[j]*h2[k] for j, k) + sum(a1[j]*h1[j] for j) + sum(a2[k]*h2[k] for k)) over h1) over h2)
check "log-joint": log_joint == sum(v[i]*(b[i] + sum(W1[i,j]*h1[j] for j)) for i)
  - sum(softplus(b[i] + sum(W1[i,j]*h1[j] for j)) for i) + sum(W2[j,k]*h1[j]*h2[k] for j, k)
  + sum(a1[j]*h1[j] for j) + sum(a2[k]*h2[k] for k) - log(Z)
check "h2 summed out": p(h1) == exp(sum(a1[j]*h1[j] for j))*prod(1 + exp(a2[k] + sum(W2[j,k]*h1[j] for j)) for k)/Z
check "the marginal": p(v) == sum(exp(-free_energy(v, h1)) over h1)/Z
check "P(v | h1)": p(v | h1) == exp(sum(v[i]*(b[i] + sum(W1[i,j]*h1[j] for j)) for i))
  /prod(1 + exp(b[i] + sum(W1[i,j]*h1[j] for j)) for i)
check "h2": p(h2[k] = 1 | h1) == sigmoid(a2[k] + sum(W2[j,k]*h1[j] for j))
check "h2, given v too": p(h2[k] = 1 | v, h1) == sigmoid(a2[k] + sum(W2[j,k]*h1[j] for j))
check "Gibbs in the top": p(h1[j] = 1 | h2) == sigmoid(a1[j] + sum(W2[j,k]*h2[k] for k))
check "gradient of the top": gradient(W2[j,k]) == data(h1[j]*h2[k]) - model(h1[j]*h2[k])
check "gradient below": gradient(W1[i,j]) == data((v[i] - sigmoid(b[i] + sum(W1[i,m]*h1[m] for m)))*h1[j])
check "(26)": q(h1[j] = 1 | v) == sigmoid(r_h1[j] + sum(R1[i,j]*v[i] for i))
check "Q": q(h1, h2 | v) == prod(sigmoid((2*h1[j] - 1)*(r_h1[j] + sum(R1[i,j]*v[i] for i))) for j)
  *prod(sigmoid((2*h2[k] - 1)*(a2[k] + sum(W2[j,k]*h1[j] for j))) for k)
check "Q(h2 | h1)": q(h2[k] = 1 | h1) == sigmoid(a2[k] + sum(W2[j,k]*h1[j] for j))
check "(27)": up(h2[k]) == sigmoid(a2[k] + sum(W2[j,k]*up(h1[j]) for j))
check "(26), of the pass": up(h1[j]) == sigmoid(r_h1[j] + sum(R1[i,j]*v[i] for i))
check "(24)": bound == expect(log_joint under q) + entropy(q)
check "(24), h2 summed out": bound == expect(-free_energy(v, h1) under q) - log(Z)
  - sum(sigmoid(r_h1[j] + sum(R1[i,j]*v[i] for i))*log(sigmoid(r_h1[j] + sum(R1[i,j]*v[i] for i)))
    + (1 - sigmoid(r_h1[j] + sum(R1[i,j]*v[i] for i)))*log(1 - sigmoid(r_h1[j] + sum(R1[i,j]*v[i] for i))) for j)
check "(24), what is left out": bound == log(sum(exp(-energy) over h1, h2)) - log(Z) - kl(q, p(h1, h2 | v))
check "(25), the part with W2": d(bound, W2[j,k])
  == d(expect(-free_energy(h1) under q) - log(sum(exp(-free_energy(h1)) over h1)), W2[j,k])
check "(25), its gradient": d(bound, W2[j,k]) == expect(h1[j]*h2[k] under q)
  - sum(h1[j]*h2[k]*exp(-free_energy(h1, h2)) over h1, h2)/sum(exp(-free_energy(h1, h2)) over h1, h2)
check "the bound's gradient below": d(bound, W1[i,j])
  == expect((v[i] - sigmoid(b[i] + sum(W1[i,m]*h1[m] for m)))*h1[j] under q)
check "E-7" refuted: d(bound, W1[i,j]) == d(expect(-free_energy(h1) under q), W1[i,j])
check "the entropy's sign" refuted: bound == expect(log_joint under q) - entropy(q)
check "wake": wake(W1[i,j]) == data(h1[j]*(v[i] - sigmoid(b[i] + sum(W1[i,m]*h1[m] for m))))
check "wake, b": wake(b[i]) == data(v[i] - sigmoid(b[i] + sum(W1[i,m]*h1[m] for m)))
check "the top's own rule": wake(W2[j,k]) == data(h1[j]*h2[k]) - model(h1[j]*h2[k])
check "sleep": sleep(R1[i,j]) == model(v[i]*(h1[j] - sigmoid(r_h1[j] + sum(R1[m,j]*v[m] for m))))
check "sleep, the bias": sleep(r_h1[j]) == model(h1[j] - sigmoid(r_h1[j] + sum(R1[m,j]*v[m] for m)))
check "E-24, with the transpose for recognition weights" refuted: sleep(R1[i,j])
  == model(v[i]*(h1[j] - sigmoid(r_h1[j] + sum(W1[m,j]*v[m] for m))))
check "E-24, generative weights in sleep" refuted: wake(W1[i,j])
  == model(h1[j]*(v[i] - sigmoid(b[i] + sum(W1[i,m]*h1[m] for m))))
check "E-5, (21) with biases for units" refuted: p(v[i] = 1 | h1) == sigmoid(b[i] + sum(W1[i,j]*a1[j] for j))
check "E-5, (27)" refuted: q(h2[k] = 1 | h1) == sigmoid(a2[k] + sum(W2[j,k]*a1[j] for j))
"""

# Section 9.2: the upper weights tied to the lower ones, h2 as large as v, its bias that of v.
COMPLEMENTARY = """model Tied(D = 3, F = 2)
visible v  : binary[D] bias b
hidden  h1 : binary[F] bias a
hidden  h2 : binary[D] bias c
h1 -> v  : W1
h1 -- h2 : W2
v  ~> h1 : R
check "(23)": p(v, h1)
  == exp(sum(W1[i,j]*v[i]*h1[j] for i, j) + sum(b[i]*v[i] for i) + sum(a[j]*h1[j] for j))/Z where W2 = W1',
  c = b
check "(23), summed over h2": p(v, h1) == sum(exp(-energy) over h2)/Z
check "the complementary prior": p(h1)
  == exp(sum(a[j]*h1[j] for j))*prod(1 + exp(b[i] + sum(W1[i,j]*h1[j] for j)) for i)/Z where W2 = W1',
  c = b
check "Z(W1) = Z(W2)": Z
  == sum(exp(sum(a[j]*h1[j] for j))*prod(1 + exp(b[i] + sum(W1[i,j]*h1[j] for j)) for i) over h1) where W2 = W1',
  c = b
check "the energy of the tied net": free_energy(v, h1)
  == -sum(W1[i,j]*v[i]*h1[j] for i, j) - sum(b[i]*v[i] for i) - sum(a[j]*h1[j] for j) where W2 = W1', c = b
check "(24) is tight": bound
  == sum(b[i]*v[i] for i) + sum(softplus(a[j] + sum(W1[i,j]*v[i] for i)) for j) - log(Z) where W2 = W1',
  c = b, R = W1, r_h1 = a
check "tying leaves the bound as it is, whatever q": bound == expect(sum(W1[i,j]*v[i]*h1[j] for i, j)
  + sum(b[i]*v[i] for i) + sum(a[j]*h1[j] for j) under q) - log(Z)
  + sum(softplus(r_h1[j] + sum(R[i,j]*v[i] for i)) - sigmoid(r_h1[j] + sum(R[i,j]*v[i] for i))
    *(r_h1[j] + sum(R[i,j]*v[i] for i)) for j) where W2 = W1', c = b
check "the posterior is that of the restricted machine": p(h1[j] = 1 | v, rest)
  == sigmoid(a[j] + sum(W1[i,j]*v[i] for i) + sum(W1[i,j]*h2[i] for i)
  - sum(softplus(b[i] + W1[i,j] + sum(W1[i,m]*h1[m] for m if m != j)) - softplus(b[i]
  + sum(W1[i,m]*h1[m] for m if m != j)) for i)) where W2 = W1',
  c = b
check "a bias of h2 left at 0 breaks it" refuted: p(v, h1)
  == exp(sum(W1[i,j]*v[i]*h1[j] for i, j) + sum(b[i]*v[i] for i) + sum(a[j]*h1[j] for j))/Z where W2 = W1', c = 0
check "E-33, a quotient in the exponent" refuted: p(v, h1) == exp(sum(W1[i,j]*v[i]/(1 + h1[j]) for i, j)
  + sum(b[i]*v[i] for i) + sum(a[j]*h1[j] for j))/Z where W2 = W1', c = b
check "E-34, the posterior untied" refuted: bound
  == sum(b[i]*v[i] for i) + sum(softplus(a[j] + sum(W1[i,j]*v[i] for i)) for j) - log(Z) where R = W1, r_h1 = a
check "E-5, (23)" refuted: p(v, h1)
  == exp(sum(W1[i,j]*v[i]*a[j] for i, j) + sum(b[i]*v[i] for i) + sum(a[j]*h1[j] for j))/Z where W2 = W1',
  c = b
"""

# Section 9.3: two tied directed layers above a restricted machine are unrolled, and the joint of the lowest two stays.
UNROLLED = """model Unrolled(D = 3, F = 2)
visible v  : binary[D] bias b
hidden  h1 : binary[F] bias a
hidden  v1 : binary[D] bias b
hidden  h2 : binary[F] bias a
h1 -> v  : W
v1 -> h1 : W'
h2 -- v1 : W'
check "summing the top out": p(v, h1, v1)
  == prod(sigmoid((2*v[i] - 1)*(b[i] + sum(W[i,j]*h1[j] for j))) for i)
  *exp(sum(W[i,j]*v1[i]*h1[j] for i, j) + sum(b[i]*v1[i] for i) + sum(a[j]*h1[j] for j))/Z
check "the upper net is a restricted machine's": p(h1, v1)
  == exp(sum(W[i,j]*v1[i]*h1[j] for i, j) + sum(b[i]*v1[i] for i) + sum(a[j]*h1[j] for j))/Z
check "the delta rule, weights shared": gradient(W[i,j]) == data((v[i] - sigmoid(b[i] + sum(W[i,m]*h1[m] for m)))*h1[j]
  + (h1[j] - sigmoid(a[j] + sum(W[m,j]*v1[m] for m)))*v1[i]) + data(v1[i]*h2[j]) - model(v1[i]*h2[j])
"""

# Section 9.1, three hidden layers, and 9.6: labels beside the penultimate layer.
MEMORY = """model Memory(D = 2, F1 = 3, F2 = 2, K = 3, F3 = 1)
visible v  : binary[D]  bias b
hidden  h1 : binary[F1] bias a1
hidden  h2 : binary[F2] bias a2
visible y  : softmax[K] bias c
hidden  h3 : binary[F3] bias a3
h1 -> v  : W1
h2 -> h1 : W2
h2 -- h3 : W3
y  -- h3 : U
v  ~> h1 : R1
h1 ~> h2 : R2
check "the joint": p(v, h1, h2, y, h3) == prod(sigmoid((2*v[i] - 1)*(b[i] + sum(W1[i,j]*h1[j] for j))) for i)
  *prod(sigmoid((2*h1[j] - 1)*(a1[j] + sum(W2[j,k]*h2[k] for k))) for j)
  *exp(sum(W3[k,l]*h2[k]*h3[l] for k, l) + sum(U[q,l]*y[q]*h3[l] for q, l) + sum(a2[k]*h2[k] for k)
  + sum(c[q]*y[q] for q) + sum(a3[l]*h3[l] for l))/Z
check "log-joint": log_joint
  == sum(v[i]*(b[i] + sum(W1[i,j]*h1[j] for j)) - softplus(b[i] + sum(W1[i,j]*h1[j] for j)) for i)
  + sum(h1[j]*(a1[j] + sum(W2[j,k]*h2[k] for k)) - softplus(a1[j] + sum(W2[j,k]*h2[k] for k)) for j)
  + sum(W3[k,l]*h2[k]*h3[l] for k, l) + sum(U[q,l]*y[q]*h3[l] for q, l) + sum(a2[k]*h2[k] for k)
  + sum(c[q]*y[q] for q) + sum(a3[l]*h3[l] for l) - log(Z)
check "the memory's joint": p(h2, y, h3) == exp(sum(W3[k,l]*h2[k]*h3[l] for k, l) + sum(U[q,l]*y[q]*h3[l] for q, l)
  + sum(a2[k]*h2[k] for k) + sum(c[q]*y[q] for q) + sum(a3[l]*h3[l] for l))/Z
check "the memory, h3": p(h3[l] = 1 | h2, y) == sigmoid(a3[l] + sum(W3[k,l]*h2[k] for k) + sum(U[q,l]*y[q] for q))
check "the memory, h2": p(h2[k] = 1 | h3) == sigmoid(a2[k] + sum(W3[k,l]*h3[l] for l))
check "the memory, y": p(y = q | h3) == softmax(c[r] + sum(U[r,l]*h3[l] for l) for r at q)
check "the memory, y as a distribution": p(y = q | h3)
  == categorical(softmax(c[m] + sum(U[m,l]*h3[l] for l) for m at r) for r)
check "the label given the layer below": p(y = q | h2)
  == softmax(c[r] + sum(softplus(a3[l] + sum(W3[k,l]*h2[k] for k) + U[r,l]) for l) for r at q)
check "the label, whatever is further below": p(y = q | v, h1, h2)
  == softmax(c[r] + sum(softplus(a3[l] + sum(W3[k,l]*h2[k] for k) + U[r,l]) for l) for r at q)
check "down": p(h1[j] = 1 | h2) == sigmoid(a1[j] + sum(W2[j,k]*h2[k] for k))
check "down, the labels known": p(v[i] = 1 | h1, y) == sigmoid(b[i] + sum(W1[i,j]*h1[j] for j))
check "Q": q(h1, h2, h3 | v, y) == prod(sigmoid((2*h1[j] - 1)*(r_h1[j] + sum(R1[i,j]*v[i] for i))) for j)
  *prod(sigmoid((2*h2[k] - 1)*(r_h2[k] + sum(R2[j,k]*h1[j] for j))) for k)
  *prod(sigmoid((2*h3[l] - 1)*(a3[l] + sum(W3[k,l]*h2[k] for k) + sum(U[q,l]*y[q] for q))) for l)
check "(26)": up(h1[j]) == sigmoid(r_h1[j] + sum(R1[i,j]*v[i] for i))
check "(27)": up(h2[k]) == sigmoid(r_h2[k] + sum(R2[j,k]*sigmoid(r_h1[j] + sum(R1[i,j]*v[i] for i)) for j))
check "(28)": up(h3[l]) == sigmoid(a3[l] + sum(W3[k,l]*up(h2[k]) for k) + sum(U[q,l]*y[q] for q))
check "the bound": bound == expect(log_joint - log(prod(sigmoid((2*h3[l] - 1)*(a3[l] + sum(W3[k,l]*h2[k] for k)
  + sum(U[q,l]*y[q] for q))) for l)) under q) - sum(sigmoid(r_h1[j] + sum(R1[i,j]*v[i] for i))*(r_h1[j]
  + sum(R1[i,j]*v[i] for i))
  - softplus(r_h1[j] + sum(R1[i,j]*v[i] for i)) for j)
  - expect(sum(h2[k]*(r_h2[k] + sum(R2[j,k]*h1[j] for j)) - softplus(r_h2[k] + sum(R2[j,k]*h1[j] for j)) for k) under q)
check "wake, second layer": wake(W2[j,k]) == data((h1[j] - sigmoid(a1[j] + sum(W2[j,m]*h2[m] for m)))*h2[k])
check "sleep, second layer": sleep(R2[j,k]) == model(h1[j]*(h2[k] - sigmoid(r_h2[k] + sum(R2[m,k]*h1[m] for m))))
check "the top's rule": gradient(W3[k,l]) == data(h2[k]*h3[l]) - model(h2[k]*h3[l])
check "the labels' rule": gradient(U[q,l]) == data(y[q]*h3[l]) - model(y[q]*h3[l])
check "E-32, a weight twice" refuted: p(h1[j] = 1 | h2) == sigmoid(a1[j] + sum(W1[i,j] for i)*sum(h2[k] for k))
check "E-5, (28)" refuted: up(h3[l]) == sigmoid(a3[l] + sum(W3[k,l]*a2[k] for k) + sum(U[q,l]*y[q] for q))
check "the up-pass is not q's mean of (27)" refuted: up(h2[k]) == sigmoid(r_h2[k] + sum(R2[j,k]*r_h1[j] for j))
"""

# Without recognition edges the up-pass is that of the greedy stack, (26)-(28) as printed.
STACK = """model Stack(D = 3, F1 = 2, F2 = 4, F3 = 1)
visible v  : binary[D]  bias b
hidden  h1 : binary[F1] bias a1
hidden  h2 : binary[F2] bias a2
hidden  h3 : binary[F3] bias a3
h1 -> v  : W1
h2 -> h1 : W2
h2 -- h3 : W3
check "(26)": up(h1[j]) == sigmoid(sum(W1[i,j]*v[i] for i) + a1[j])
check "(27)": up(h2[k]) == sigmoid(sum(W2[j,k]*up(h1[j]) for j) + a2[k])
check "(28)": up(h3[l]) == sigmoid(sum(W3[k,l]*up(h2[k]) for k) + a3[l])
check "stage 1" in greedy h1: energy
  == -sum(W1[i,j]*v[i]*h1[j] for i, j) - sum(b[i]*v[i] for i) - sum(a1[j]*h1[j] for j)
check "stage 1, Q(h1 | v)" in greedy h1: p(h1[j] = 1 | v) == sigmoid(a1[j] + sum(W1[i,j]*v[i] for i))
check "stage 2, P(h1; W2)" in greedy h2: p(h1)
  == exp(sum(a1[j]*h1[j] for j))*prod(1 + exp(a2[k] + sum(W2[j,k]*h1[j] for j)) for k)/Z
check "stage 2, its gradient" in greedy h2: gradient(W2[j,k]) == data(h1[j]*h2[k]) - model(h1[j]*h2[k])
check "stage 2, tied to the first" in greedy h2: p(h2[k] = 1 | h1) == sigmoid(a2[k] + sum(W2[j,k]*h1[j] for j))
check "stage 3, Q(h3 | h2)" in greedy h3: p(h3[l] = 1 | h2) == sigmoid(a3[l] + sum(W3[k,l]*h2[k] for k))
check "one layer is a restricted machine" in greedy h1: p(v) == exp(-free_energy(v))/Z
check "no doubling" refuted in greedy h1: p(h1[j] = 1 | v) == sigmoid(a1[j] + 2*sum(W1[i,j]*v[i] for i))
check "E-5, (26)" refuted: up(h1[j]) == sigmoid(sum(W1[i,j]*b[i] for i) + a1[j])
"""

# Gaussian data below a belief net (9.1), and one hidden layer with its restricted machine.
DENSE = """model Dense(D = 2, F = 3, G = 2)
visible v  : gaussian[D](sigma = learned) bias b
hidden  h1 : binary[F]                    bias a1
hidden  h2 : binary[G]                    bias a2
h1 -> v  : W
h1 -- h2 : J
check "v | h1": p(v[i] | h1) == normal(b[i] + sigma_v[i]*sum(W[i,j]*h1[j] for j), sigma_v[i])
check "the density": p(v | h1) == prod(exp(-(v[i] - b[i] - sigma_v[i]*sum(W[i,j]*h1[j] for j))^2/(2*sigma_v[i]^2))
  /(sqrt(2*pi)*sigma_v[i]) for i)
check "the delta rule": gradient(W[i,j]) == data((v[i] - b[i] - sigma_v[i]*sum(W[i,m]*h1[m] for m))*h1[j]/sigma_v[i])
check "the delta rule, b": gradient(b[i]) == data((v[i] - b[i] - sigma_v[i]*sum(W[i,m]*h1[m] for m))/sigma_v[i]^2)
check "the joint": p(v, h1, h2) == prod(exp(-(v[i] - b[i] - sigma_v[i]*sum(W[i,j]*h1[j] for j))^2/(2*sigma_v[i]^2))
  /(sqrt(2*pi)*sigma_v[i]) for i)
  *exp(sum(a1[j]*h1[j] for j) + sum(a2[k]*h2[k] for k) + sum(J[j,k]*h1[j]*h2[k] for j, k))/Z
check "U_ij = sigma_i W_ij forgotten" refuted: p(v[i] | h1) == normal(b[i] + sum(W[i,j]*h1[j] for j), sigma_v[i])
"""

# Sections 3 and 10.3: bounds by mean field, names of hidden layers being means.
FIELD = """model Field(D = 3, P = 2)
visible v : binary[D] bias b
hidden  h : binary[P] bias a
v -- v : L
h -- h : J
v -- h : W
check "the bound": bound == 1/2*sum(L[i,k]*v[i]*v[k] for i, k) + 1/2*sum(J[j,m]*h[j]*h[m] for j, m)
  + sum(W[i,j]*v[i]*h[j] for i, j) + sum(b[i]*v[i] for i) + sum(a[j]*h[j] for j) - log(Z)
  - sum(h[j]*log(h[j]) + (1 - h[j])*log(1 - h[j]) for j)
check "the entropy": entropy(q) == -sum(h[j]*log(h[j]) + (1 - h[j])*log(1 - h[j]) for j)
check "log P(v) less the divergence": bound == log(sum(exp(-energy) over h)) - log(Z) - kl(q, p(h | v))
check "without J, in closed form": bound == -free_energy(v) - log(Z) - kl(q, p(h | v)) where J = 0
check "q": q(h[j] = 1 | v) == h[j]
check "the moments": expect(sum(J[j,l]^2*h[j]*h[m] for j, m, l) under q)
  == sum(J[j,l]^2*h[j]*h[m] for j, m, l) + sum(J[j,l]^2*(h[j] - h[j]^2) for j, l)
check "E-13" refuted: bound == 1/2*sum(L[i,k]*v[i]*v[k] for i, k) + 1/2*sum(J[j,m]*h[j]*h[m] for j, m)
  + sum(W[i,j]*v[i]*h[j] for i, j) + sum(b[i]*v[i] for i) + sum(a[j]*h[j] for j) - log(Z)
  + sum(h[j]*log(h[j]) + (1 - h[j])*log(1 - h[j]) for j)
check "E-13, the entropy" refuted: entropy(q) == sum(h[j]*log(h[j]) + (1 - h[j])*log(1 - h[j]) for j)
"""

BOUNDED = """model Bounded(D = 3, F1 = 2, F2 = 4, F3 = 1)
visible v  : binary[D]  bias b
hidden  h1 : binary[F1] bias a1
hidden  h2 : binary[F2] bias a2
hidden  h3 : binary[F3] bias a3
v  -- h1 : W1
h1 -- h2 : W2
h2 -- h3 : W3
check "(36)": bound == expect(log_joint under q) + entropy(q)
check "(36), the divergence": bound == log(sum(exp(-energy) over h1, h2, h3)) - log(Z) - kl(q, p(h1, h2, h3 | v))
check "(37)": q(h1, h2, h3 | v) == prod(mean_field(h1[j])^h1[j]*(1 - mean_field(h1[j]))^(1 - h1[j]) for j)
  *prod(mean_field(h2[k])^h2[k]*(1 - mean_field(h2[k]))^(1 - h2[k]) for k)
  *prod(mean_field(h3[l])^h3[l]*(1 - mean_field(h3[l]))^(1 - h3[l]) for l)
check "(37), one unit": q(h2[k] = 1 | v) == h2[k]
check "(38)": bound == sum(W1[i,j]*v[i]*h1[j] for i, j)
  + sum(W2[j,k]*h1[j]*h2[k] for j, k) + sum(W3[k,l]*h2[k]*h3[l] for k, l)
  + sum(b[i]*v[i] for i) + sum(a1[j]*h1[j] for j) + sum(a2[k]*h2[k] for k) + sum(a3[l]*h3[l] for l)
  - log(Z) + entropy(q)
check "(38), H": entropy(q) == -sum(h1[j]*log(h1[j]) + (1 - h1[j])*log(1 - h1[j]) for j)
  - sum(h2[k]*log(h2[k]) + (1 - h2[k])*log(1 - h2[k]) for k) - sum(h3[l]*log(h3[l]) + (1 - h3[l])*log(1 - h3[l]) for l)
check "(39)": mean_field(h1[j]) == sigmoid(a1[j] + sum(W1[i,j]*v[i] for i) + sum(W2[j,k]*h2[k] for k))
check "(40)": mean_field(h2[k]) == sigmoid(a2[k] + sum(W2[j,k]*h1[j] for j) + sum(W3[k,l]*h3[l] for l))
check "(41)": mean_field(h3[l]) == sigmoid(a3[l] + sum(W3[k,l]*h2[k] for k))
check "(15)" in greedy h1: p(h1[j] = 1 | v) == sigmoid(a1[j] + sum(W1[i,j]*v[i] for i) + sum(W1[i,j]*v[i] for i))
check "(15), doubled" in greedy h1: p(h1[j] = 1 | v) == sigmoid(a1[j] + 2*sum(W1[i,j]*v[i] for i))
check "(16)" in greedy h1: p(v[i] = 1 | h1) == sigmoid(b[i] + sum(W1[i,j]*h1[j] for j))
check "the top machine, up" in greedy h3: p(h3[l] = 1 | h2) == sigmoid(a3[l] + sum(W3[k,l]*h2[k] for k))
check "the top machine, down" in greedy h3: p(h2[k] = 1 | h3) == sigmoid(a2[k] + 2*sum(W3[k,l]*h3[l] for l))
check "a machine between, up" in greedy h2: p(h2[k] = 1 | h1) == sigmoid(a2[k] + 2*sum(W2[j,k]*h1[j] for j))
check "a machine between, down" in greedy h2: p(h1[j] = 1 | h2) == sigmoid(a1[j] + 2*sum(W2[j,k]*h2[k] for k))
check "a machine between is one of twice the weights" in greedy h2: energy
  == -2*sum(W2[j,k]*h1[j]*h2[k] for j, k) - sum(a1[j]*h1[j] for j) - sum(a2[k]*h2[k] for k)
check "the first pass up": up(h2[k]) == sigmoid(a2[k] + 2*sum(W2[j,k]*up(h1[j]) for j))
check "the first pass up, the top": up(h3[l]) == sigmoid(a3[l] + sum(W3[k,l]*up(h2[k]) for k))
check "10.6, the first layer of the network": mean_field(h1[j])
  == sigmoid(sum(W1[i,j]*v[i] for i) + sum(W2[j,k]*h2[k] for k) + a1[j]) where W3 = 0
check "10.6, the second layer": mean_field(h2[k]) == sigmoid(sum(W2[j,k]*h1[j] for j) + a2[k]) where W3 = 0
check "10.6, without the second input" refuted: mean_field(h1[j])
  == sigmoid(sum(W1[i,j]*v[i] for i) + a1[j]) where W3 = 0
check "E-5, (31)" refuted: p(h1[j] = 1 | v, h2) == sigmoid(a1[j] + sum(W1[i,j]*v[i] for i) + sum(W2[j,k]*a2[k] for k))
check "E-5, (34)" refuted: p(v[i] = 1 | h1) == sigmoid(b[i] + sum(W1[i,j]*a1[j] for j))
check "E-8" refuted: q(h1, h2, h3 | v) == prod(prod(prod(mean_field(h1[j])^h1[j]*(1 - mean_field(h1[j]))^(1 - h1[j])
  *mean_field(h2[k])^h2[k]*(1 - mean_field(h2[k]))^(1 - h2[k])
  *mean_field(h3[l])^h3[l]*(1 - mean_field(h3[l]))^(1 - h3[l]) for l) for k) for j)
check "E-35, one weight for all" refuted: p(h2[k] = 1 | h1, h3)
  == sigmoid(a2[k] + sum(W2[j,k]*h1[j] for j) + sum(W2[j,k] for j)*sum(h3[l] for l))
check "(15) both ways" refuted in greedy h1: p(v[i] = 1 | h1) == sigmoid(b[i] + 2*sum(W1[i,j]*h1[j] for j))
"""

NETS = {
    "belief_net": BELIEF_NET,
    "belief": BELIEF,
    "complementary": COMPLEMENTARY,
    "unrolled": UNROLLED,
    "memory": MEMORY,
    "stack": STACK,
    "dense": DENSE,
    "field": FIELD,
    "bounded": BOUNDED,
}
