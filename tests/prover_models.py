"""Models with checks that hold, for tests of the prover; see SIZES for the sizes they are tested at."""

from pgmdsl import textbook

SPIN = """model Spin(D = 3, F = 2, G = 4)
visible v  : spin[D]    bias b
hidden  h  : spin[F]    bias a
hidden  g  : binary[G]  bias c
v -- h : W
h -- g : U
g -- v : X
check "p": p(h[j] = 1 | v, g) == sigmoid(2*a[j] + 2*sum(W[i,j]*v[i] for i) + 2*sum(U[j,k]*g[k] for k))
check "p low": p(h[j] = -1 | rest) == 1/(1 + exp(2*(a[j] + sum(W[i,j]*v[i] for i) + sum(U[j,k]*g[k] for k))))
check "p tanh": p(v[i] = 1 | h, g) == (1 + tanh(b[i] + sum(W[i,j]*h[j] for j) + sum(X[k,i]*g[k] for k)))/2
check "mf": mean_field(h[j]) == tanh(a[j] + sum(W[i,j]*v[i] for i) + sum(U[j,k]*g[k] for k))
check "F": free_energy(v, g) == -sum(b[i]*v[i] for i) - sum(c[k]*g[k] for k) - sum(X[k,i]*g[k]*v[i] for k, i)
  - sum(log(exp(a[j] + sum(W[i,j]*v[i] for i) + sum(U[j,k]*g[k] for k))
    + exp(-a[j] - sum(W[i,j]*v[i] for i) - sum(U[j,k]*g[k] for k))) for j)
check "mean": mean(g[k] | v, h) == 1/2 + tanh(c[k]/2 + sum(U[j,k]*h[j] for j)/2 + sum(X[k,i]*v[i] for i)/2)/2
"""

SQUARE = """model Square(N = 3)
visible v  : binary[N]  bias b
hidden  h  : binary[N]  bias a
hidden  g  : binary[N]  bias c
v -- h : W
h -- g : U
check "E": energy == -sum(b[i]*v[i] + a[i]*h[i] + c[i]*g[i] for i) - sum(h[j]*(W[i,j]*v[i] + U[j,i]*g[i]) for i, j)
check "h": p(h[j] = 1 | v, g) == sigmoid(a[j] + sum(W[i,j]*v[i] + U[j,i]*g[i] for i))
check "v": p(v[i] = 1 | h) == sigmoid(b[i] + sum(W[i,j]*h[j] for j))
check "mf": mean_field(g[j]) == sigmoid(c[j] + sum(U[i,j]*h[i] for i))
check "F": free_energy(h) == -sum(a[i]*h[i] for i)
  - log(prod((1 + exp(b[i] + sum(W[i,j]*h[j] for j)))*(1 + exp(c[i] + sum(U[j,i]*h[j] for j))) for i))
check "gW": gradient(W[i,j]) == data(v[i]*h[j]) - model(v[i]*h[j])
check "gU": gradient(U[i,j]) == data(g[j]*h[i]) - model(g[j]*h[i])
check "others": p(h[j] = 1 | v, g) == sigmoid(a[j] + W[j,j]*v[j] + sum(W[i,j]*v[i] for i if i != j)
  + sum(U[j,i]*g[i] for i))
"""

TIED = """model Tied(D = 3, F = 2)
visible v  : binary[D]  bias b
hidden  h  : binary[F]  bias a
hidden  g  : binary[D]  bias b
v -- h : W
h -- g : W'
check "h": p(h[j] = 1 | v, g) == sigmoid(a[j] + sum(W[i,j]*(v[i] + g[i]) for i))
check "gW": gradient(W[i,j]) == data((v[i] + g[i])*h[j]) - model((v[i] + g[i])*h[j])
check "gb": gradient(b[i]) == data(v[i] + g[i]) - model(v[i] + g[i])
check "F": free_energy(h) == -sum(a[j]*h[j] for j) - 2*sum(softplus(b[i] + sum(W[i,j]*h[j] for j)) for i)
"""

LABELS = """model Labels(D = 3, F = 2, K = 4)
visible v : binary[D]   bias b
visible y : softmax[K]  bias c
hidden  h : binary[F]   bias a
v -- h : W
y -- h : U
check "label": p(y = k | h) == softmax(c[q] + sum(U[q,j]*h[j] for j) for q at k)
check "posterior": p(y = k | v) ==
  softmax(c[q] + sum(softplus(a[j] + sum(W[i,j]*v[i] for i) + U[q,j]) for j) for q at k)
check "h": p(h[j] = 1 | v, y) == sigmoid(a[j] + sum(W[i,j]*v[i] for i) + sum(U[k,j]*y[k] for k))
check "F": free_energy(v, y) == -sum(b[i]*v[i] for i) - sum(c[k]*y[k] for k)
  - sum(softplus(a[j] + sum(W[i,j]*v[i] for i) + sum(U[k,j]*y[k] for k)) for j)
check "one": energy == -sum(b[i]*v[i] for i) - sum(a[j]*h[j] for j) - sum(W[i,j]*v[i]*h[j] for i, j)
  - sum((c[k] + sum(U[k,j]*h[j] for j))*y[k]^2 for k)
check "gU": gradient(U[k,j]) == data(y[k]*h[j]) - model(h[j]*y[k])
"""

REAL = """model Real(D = 2, F = 3, G = 2)
visible v : gaussian[G](sigma = data)  bias b
visible u : binary[D]               bias c
hidden  h : binary[F]               bias a
hidden  z : gaussian[D](sigma = 3)  bias none
v -- h : W
u -- h : X
u -- z : V
check "v": p(v[i] | h) == normal(sigma_v[i]*(b[i]/sigma_v[i] + sum(W[i,j]*h[j] for j)), sqrt(sigma_v[i]^2))
check "z": p(z[i] | u) == normal(sigma_z[i]*sum(V[d,i]*u[d] for d), sigma_z[i])
check "h": p(h[j] = 1 | v, u) == sigmoid(a[j] + sum(W[i,j]*v[i]/sigma_v[i] for i) + sum(X[d,j]*u[d] for d))
check "mf": mean_field(z[i]) == sigma_z[i]*sum(V[d,i]*u[d] for d)
check "F": free_energy(v, u) == sum((v[i]/sigma_v[i] - b[i]/sigma_v[i])^2/2 for i) - sum(c[d]*u[d] for d)
  - sum(softplus(a[j] + sum(W[i,j]*v[i]/sigma_v[i] for i) + sum(X[d,j]*u[d] for d)) for j)
  - sum(sum(V[d,i]*u[d] for d)^2 for i)/2 - sum(log(sigma_z[i]) for i) - D*log(2*pi)/2
check "gV": gradient(V[d,i]) == data(u[d]*z[i]/sigma_z[i]) - model(u[d]*z[i]/sigma_z[i])
check "gb": gradient(b[i]) == data(v[i])/sigma_v[i]^2 - model(v[i])/sigma_v[i]^2
check "slope": d(free_energy(v, u), a[j])
  == -sigmoid(a[j] + sum(W[i,j]*v[i]/sigma_v[i] for i) + sum(X[d,j]*u[d] for d))
"""

GRID = """model Grid(A = 2, B = 3, F = 2)
visible v : binary[A, B]  bias b
hidden  h : binary[F]     bias a
v -- h : W
check "h": p(h[j] = 1 | v) == sigmoid(a[j] + sum(W[r,s,j]*v[r,s] for r, s))
check "v": p(v[r,s] = 0 | h) == exp(-softplus(b[r,s] + sum(W[r,s,j]*h[j] for j)))
check "F": free_energy(v) == -sum(b[r,s]*v[r,s] for r, s) - sum(softplus(a[j] + sum(W[r,s,j]*v[r,s] for r, s)) for j)
check "gW": gradient(W[r,s,j]) == data(v[r,s]*h[j]) - model(v[r,s]*h[j])
"""

COUNTS = """model Counts(D = 2, N = 3, P = 2, F = 2)
visible k : binomial[D](trials = N) bias b
visible n : poisson[P]              bias c
hidden  h : binary[F]               bias a
k -- h : W
n -- h : V
check "E": energy == -sum(b[i]*k[i] for i) - sum(log(factorial(N)/(factorial(k[i])*factorial(N - k[i]))) for i)
  - sum(c[m]*n[m] - log(factorial(n[m])) for m) - sum(a[j]*h[j] for j) - sum(W[i,j]*k[i]*h[j] for i, j)
  - sum(V[m,j]*n[m]*h[j] for m, j)
check "k": p(k[i] | h) == factorial(N)/(factorial(k[i])*factorial(N - k[i]))
  *sigmoid(b[i] + sum(W[i,j]*h[j] for j))^k[i]*(1 - sigmoid(b[i] + sum(W[i,j]*h[j] for j)))^(N - k[i])
check "n": p(n[m] | h) == poisson(exp(c[m] + sum(V[m,j]*h[j] for j)))
check "n written out": p(n[m] | h) == exp((c[m] + sum(V[m,j]*h[j] for j))*n[m] - exp(c[m] + sum(V[m,j]*h[j] for j)))
  /factorial(n[m])
check "mean": mean(k[i] | h) == N*sigmoid(b[i] + sum(W[i,j]*h[j] for j))
check "h": p(h[j] = 1 | k, n) == sigmoid(a[j] + sum(W[i,j]*k[i] for i) + sum(V[m,j]*n[m] for m))
check "F": free_energy(h) == -sum(a[j]*h[j] for j) - N*sum(softplus(b[i] + sum(W[i,j]*h[j] for j)) for i)
  - sum(exp(c[m])*prod(exp(V[m,j]*h[j]) for j) for m)
check "Z": Z == sum(exp(sum(a[j]*h[j] for j) + sum(exp(c[m] + sum(V[m,j]*h[j] for j)) for m))
  *prod((1 + exp(b[i] + sum(W[i,j]*h[j] for j)))^N for i) over h)
check "gW": gradient(W[i,j]) == data(k[i]*h[j]) - model(k[i]*h[j])
check "gc": gradient(c[m]) == data(n[m]) - model(n[m])
"""

HALF_LINE = """model HalfLine(R = 2, F = 2)
visible r : relu[R]   bias b
hidden  h : binary[F] bias a
r -- h : W
check "r": p(r[i] | h) == exp(-(r[i] - b[i] - sum(W[i,j]*h[j] for j))^2/2
  - log_normal_cdf(b[i] + sum(W[i,j]*h[j] for j)))/sqrt(2*pi)
check "mean": mean(r[i] | h) == b[i] + sum(W[i,j]*h[j] for j)
  + exp(-(b[i] + sum(W[i,j]*h[j] for j))^2/2 - log_normal_cdf(b[i] + sum(W[i,j]*h[j] for j)))/sqrt(2*pi)
check "F": free_energy(h) == -sum(a[j]*h[j] for j) - R*log(2*pi)/2
  - sum((b[i] + sum(W[i,j]*h[j] for j))^2/2 + log_normal_cdf(b[i] + sum(W[i,j]*h[j] for j)) for i)
check "slope": d(free_energy(h), b[i]) == -b[i] - sum(W[i,j]*h[j] for j)
  - exp(-(b[i] + sum(W[i,j]*h[j] for j))^2/2)/exp(log_normal_cdf(b[i] + sum(W[i,j]*h[j] for j)))/sqrt(2*pi)
check "gW": gradient(W[i,j]) == data(r[i]*h[j]) - model(r[i]*h[j])
"""

OWN = """model Own(T = 2, Q = 1, F = 2)
unit tilted {
  param u > 0, t
  support x in {-1, 0.5, 2}
  energy u*x^2 + t*x
  statistic x
}
unit drelu {
  param gp > 0, gm > 0, tp, tm
  support x in real
  energy gp*x^2/2 + tp*x if x > 0 else gm*x^2/2 + tm*x
  statistic x
}
visible s : tilted[T] bias b
visible r : drelu[Q]  bias c
hidden  h : binary[F] bias a
s -- h : W
r -- h : V
check "E": energy == sum(u_s[i]*s[i]^2 + t_s[i]*s[i] - b[i]*s[i] for i) - sum(a[j]*h[j] for j)
  + sum(gp_r[m]*r[m]^2/2 + tp_r[m]*r[m] if r[m] > 0 else gm_r[m]*r[m]^2/2 + tm_r[m]*r[m] for m) - sum(c[m]*r[m] for m)
  - sum(W[i,j]*s[i]*h[j] for i, j) - sum(V[m,j]*r[m]*h[j] for m, j)
check "s": p(s[i] = 2 | h) == exp(2*(b[i] + sum(W[i,j]*h[j] for j)) - 4*u_s[i] - 2*t_s[i])
  /(exp(-b[i] - sum(W[i,j]*h[j] for j) - u_s[i] + t_s[i])
  + exp(b[i]/2 + sum(W[i,j]*h[j] for j)/2 - u_s[i]/4 - t_s[i]/2)
  + exp(2*(b[i] + sum(W[i,j]*h[j] for j)) - 4*u_s[i] - 2*t_s[i]))
check "s in its own state": p(s[i] | h) == exp((b[i] + sum(W[i,j]*h[j] for j) - t_s[i])*s[i] - u_s[i]*s[i]^2)
  /(exp(-b[i] - sum(W[i,j]*h[j] for j) - u_s[i] + t_s[i])
  + exp(b[i]/2 + sum(W[i,j]*h[j] for j)/2 - u_s[i]/4 - t_s[i]/2)
  + exp(2*(b[i] + sum(W[i,j]*h[j] for j)) - 4*u_s[i] - 2*t_s[i]))
check "h": p(h[j] | s, r) == sigmoid((2*h[j] - 1)*(a[j] + sum(W[i,j]*s[i] for i) + sum(V[m,j]*r[m] for m)))
check "gu": gradient(u_s[i]) == model(s[i]^2) - data(s[i]^2)
check "gt": gradient(t_s[i]) == model(s[i]) - data(s[i])
check "ggp": gradient(gp_r[m]) == model(r[m]^2/2 if r[m] > 0 else 0) - data(r[m]^2/2 if r[m] > 0 else 0)
check "gtm": gradient(tm_r[m]) == model(0 if r[m] > 0 else r[m]) - data(0 if r[m] > 0 else r[m])
check "a cube of three values": p(h[j] = 1 | s, r)
  == sigmoid(a[j] + sum(W[i,j]*(s[i]^3 - 3/2*s[i]^2 - s[i]/2 + 1) for i) + sum(V[m,j]*r[m] for m))
"""

SITES = """model Sites(N = 2, K = 3, S = 2)
visible x : softmax[N, K] bias b
hidden  h : spin[S]       bias a
x -- x : L
h -- h : J
x -- h : W
check "E": energy == -sum(L[i,k,m,l]*x[i,k]*x[m,l] for i, k, m, l)/2 - sum(J[j,o]*h[j]*h[o] for j, o)/2
  - sum(b[i,k]*x[i,k] for i, k) - sum(a[j]*h[j] for j) - sum(W[i,k,j]*x[i,k]*h[j] for i, k, j)
check "x": p(x[i] = k | h, rest)
  == softmax(b[i,q] + sum(L[i,q,m,l]*x[m,l] for m, l if m != i) + sum(W[i,q,j]*h[j] for j) for q at k)
check "h": p(h[j] = 1 | x, rest) == sigmoid(2*a[j] + 2*sum(J[o,j]*h[o] for o) + 2*sum(W[i,k,j]*x[i,k] for i, k))
check "mean": mean(h[j] | x, rest) == tanh(a[j] + sum(J[j,o]*h[o] for o if o != j) + sum(W[i,k,j]*x[i,k] for i, k))
check "mf": mean_field(h[j]) == tanh(a[j] + sum(J[j,o]*h[o] for o) + sum(W[i,k,j]*x[i,k] for i, k))
check "gL": gradient(L[i,k,m,l]) == data(x[i,k]*x[m,l]) - model(x[i,k]*x[m,l])
check "gJ": gradient(J[j,o]) == data(h[j]*h[o]) - model(h[j]*h[o])
check "slope": d(energy, L[i,k,m,l]) == -x[i,k]*x[m,l]
check "F": free_energy(x, h) == energy
check "without J": free_energy(x) == -sum(L[i,k,m,l]*x[i,k]*x[m,l] for i, k, m, l)/2 - sum(b[i,k]*x[i,k] for i, k)
  - sum(log(exp(a[j] + sum(W[i,k,j]*x[i,k] for i, k)) + exp(-a[j] - sum(W[i,k,j]*x[i,k] for i, k))) for j) where J = 0
"""

GATED = """model Gated(C = 2, D = 3, F = 2, K = 3)
given   x : binary[C]
visible v : binary[D]  bias b
visible y : softmax[K] bias c
hidden  h : binary[F]  bias a
x * v * h : T
v * y * h : U
x -- h : A
x -- v : B
check "E": energy == -sum(T[o,i,j]*x[o]*v[i]*h[j] for o, i, j) - sum(U[i,k,j]*v[i]*y[k]*h[j] for i, k, j)
  - sum(A[o,j]*x[o]*h[j] for o, j) - sum(B[o,i]*x[o]*v[i] for o, i) - sum(b[i]*v[i] for i) - sum(c[k]*y[k] for k)
  - sum(a[j]*h[j] for j)
check "v": p(v[i] = 1 | x, y, h) == sigmoid(b[i] + sum(B[o,i]*x[o] for o)
  + sum(h[j]*(sum(T[o,i,j]*x[o] for o) + sum(U[i,k,j]*y[k] for k)) for j))
check "h": p(h[j] = 1 | x, v, y) == sigmoid(a[j] + sum(A[o,j]*x[o] for o)
  + sum(v[i]*(sum(T[o,i,j]*x[o] for o) + sum(U[i,k,j]*y[k] for k)) for i))
check "y": p(y = k | v, h) == softmax(c[q] + sum(U[i,q,j]*v[i]*h[j] for i, j) for q at k)
check "y, h summed out": p(y = k | x, v) == softmax(c[q] + sum(softplus(a[j] + sum(A[o,j]*x[o] for o)
  + sum(v[i]*(sum(T[o,i,j]*x[o] for o) + U[i,q,j]) for i)) for j) for q at k)
check "F": free_energy(x, v, y) == -sum(B[o,i]*x[o]*v[i] for o, i) - sum(b[i]*v[i] for i) - sum(c[k]*y[k] for k)
  - sum(softplus(a[j] + sum(A[o,j]*x[o] for o)
  + sum(v[i]*(sum(T[o,i,j]*x[o] for o) + sum(U[i,k,j]*y[k] for k)) for i)) for j)
check "p": p(v, y | x) == exp(-free_energy(x, v, y))/Z
check "Z": Z == sum(exp(-free_energy(x, v, y)) over v, y)
check "gT": gradient(T[o,i,j]) == data(x[o]*v[i]*h[j]) - model(x[o]*v[i]*h[j])
check "gA": gradient(A[o,j]) == data(x[o]*h[j]) - model(x[o]*h[j])
check "gU": gradient(U[i,k,j]) == data(v[i]*y[k]*h[j]) - model(v[i]*y[k]*h[j])
"""

CHAPTERS = {path.stem: path.read_text(encoding="utf-8") for path in textbook.files()}
MODELS = {
    "spin": SPIN,
    "square": SQUARE,
    "tied": TIED,
    "labels": LABELS,
    "real": REAL,
    "grid": GRID,
    "counts": COUNTS,
    "half_line": HALF_LINE,
    "own": OWN,
    "sites": SITES,
    "gated": GATED,
    **CHAPTERS,
}
SIZES: dict[str, tuple[dict[str, int], dict[str, int]]] = {
    "spin": ({"D": 3, "F": 2, "G": 4}, {"D": 2, "F": 3, "G": 1}),
    "square": ({"N": 3}, {"N": 2}),
    "tied": ({"D": 3, "F": 2}, {"D": 2, "F": 3}),
    "labels": ({"D": 3, "F": 2, "K": 4}, {"D": 2, "F": 3, "K": 5}),
    "real": ({"D": 2, "F": 3, "G": 1}, {"D": 1, "F": 2, "G": 2}),
    "grid": ({"A": 2, "B": 3, "F": 2}, {"A": 3, "B": 2, "F": 1}),
    "counts": ({"D": 2, "N": 2, "P": 1, "F": 2}, {"D": 1, "N": 3, "P": 2, "F": 3}),
    "half_line": ({"R": 2, "F": 2}, {"R": 1, "F": 3}),
    "own": ({"T": 2, "Q": 1, "F": 2}, {"T": 1, "Q": 2, "F": 1}),
    "sites": ({"N": 2, "K": 3, "S": 2}, {"N": 3, "K": 2, "S": 3}),
    "gated": ({"C": 2, "D": 3, "F": 2, "K": 3}, {"C": 3, "D": 2, "F": 1, "K": 2}),
    "01_fully_visible": ({"D": 3}, {"D": 2}),
    "02_boltzmann_machine": ({"D": 3, "P": 2}, {"D": 2, "P": 3}),
    "03_without_one_half": ({"D": 3, "P": 2}, {"D": 2, "P": 3}),
    "04_rbm": ({"D": 3, "F": 2}, {"D": 2, "F": 3}),
    "05_gaussian_rbm": ({"D": 2, "F": 3}, {"D": 1, "F": 2}),
    "06_unshared_documents": ({"M": 2, "K": 3, "F": 2}, {"M": 3, "K": 2, "F": 1}),
    "07_replicated_softmax": ({"K": 3, "F": 2}, {"K": 2, "F": 3}),
    "08_labels": ({"C": 3, "D": 2, "F": 2}, {"C": 2, "D": 3, "F": 1}),
    "09_sigmoid_belief_net": ({"D": 2, "F1": 3, "F2": 2, "F3": 1}, {"D": 3, "F1": 2, "F2": 1, "F3": 2}),
    "10_deep_belief_net": ({"D": 2, "F1": 3, "F2": 2}, {"D": 3, "F1": 2, "F2": 1}),
    "11_complementary_prior": ({"D": 3, "F": 2}, {"D": 2, "F": 3}),
    "12_unrolled_rbm": ({"D": 3, "F": 2}, {"D": 2, "F": 3}),
    "13_greedy_stack": ({"D": 3, "F1": 2, "F2": 1, "F3": 2}, {"D": 2, "F1": 1, "F2": 3, "F3": 1}),
    "14_digits_and_labels": ({"D": 2, "F1": 1, "F2": 2, "K": 3, "F3": 1}, {"D": 1, "F1": 2, "F2": 1, "K": 2, "F3": 2}),
    "15_gaussian_belief_net": ({"D": 1, "F": 3, "G": 2}, {"D": 2, "F": 2, "G": 1}),
    "16_deep_boltzmann_machine_two": ({"D": 3, "F1": 2, "F2": 4}, {"D": 2, "F1": 3, "F2": 1}),
    "17_deep_boltzmann_machine_three": ({"D": 3, "F1": 2, "F2": 1, "F3": 2}, {"D": 2, "F1": 1, "F2": 3, "F3": 1}),
    "18_annealing": ({"D": 3, "F": 2}, {"D": 2, "F": 3}),
    "19_multimodal": (
        {"D": 1, "F1m": 2, "F2m": 1, "K": 3, "F1t": 1, "F2t": 2, "F3": 1},
        {"D": 2, "F1m": 1, "F2m": 2, "K": 2, "F1t": 2, "F2t": 1, "F3": 1},
    ),
    "20_backpropagation": ({"D": 2, "F": 3, "K": 2}, {"D": 3, "F": 2, "K": 1}),
    "rbm": ({"D": 3, "F": 2}, {"D": 4, "F": 3}),
    "gaussian_rbm": ({"D": 2, "F": 3}, {"D": 1, "F": 2}),
    "dbm": ({"D": 3, "F1": 2, "F2": 4}, {"D": 2, "F1": 3, "F2": 1}),
    "dbm3": ({"D": 3, "F1": 2, "F2": 4, "F3": 1}, {"D": 2, "F1": 3, "F2": 1, "F3": 4}),
    "sbn": ({"D": 2, "F1": 3, "F2": 2, "F3": 1}, {"D": 3, "F1": 2, "F2": 1, "F3": 2}),
    "dbn": ({"D": 2, "F1": 1, "F2": 2, "K": 3, "F3": 1}, {"D": 1, "F1": 2, "F2": 1, "K": 2, "F3": 2}),
    "potts": ({"N": 2, "K": 3, "F": 4}, {"N": 3, "K": 2, "F": 1}),
}
"""Models and examples by name, each with two choices of sizes, so that a sign is not lost in an even power."""
